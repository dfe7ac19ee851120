package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

// told is what the log has of requests by a user, as verb, object and code.
func told(t *testing.T, path, user string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var lines []string
	for line := range bytes.Lines(content) {
		var event auditv1.Event
		require.NoError(t, json.Unmarshal(line, &event), "%s", line)
		require.NotEqual(t, "system:apiserver", event.User.Username, "our own traffic")
		require.Nil(t, event.RequestObject)
		require.Nil(t, event.ResponseObject)
		if event.User.Username == user && event.Stage == auditv1.StageResponseComplete {
			object := event.ObjectRef.Resource + "/" + event.ObjectRef.Name
			if event.ObjectRef.Subresource != "" {
				object += "/" + event.ObjectRef.Subresource
			}
			lines = append(lines, strings.Join([]string{event.Verb, object, http.StatusText(int(event.ResponseStatus.Code))}, " "))
		}
	}
	return lines
}

func TestChangesAndShellsAreAudited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	audit := AuditOptions{Path: path, Policy: config.AuditPolicy, MaxSize: 1}
	a := start(t, openStore(t, store.Options{Pool: postgrestest.Schema(t)}), t.TempDir(), "127.0.0.1:0", config.CRDs, func(o *Options) { o.Audit = audit })
	content, err := IssueKubeconfig(KubeconfigOptions{Dir: filepath.Dir(a.Kubeconfig()), User: "alice", Groups: []string{GroupWriters}, Expires: time.Hour}, time.Now())
	require.NoError(t, err)
	alice, err := clientcmd.RESTConfigFromKubeConfig(content)
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(alice)
	require.NoError(t, err)
	records := client.Resource(games).Namespace("default")
	_, err = records.Create(t.Context(), game("chess", func(spec map[string]any) {
		spec["env"] = []any{map[string]any{"name": "PASSWORD", "value": "open-sesame"}}
	}), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = records.Get(t.Context(), "chess", metav1.GetOptions{})
	require.NoError(t, err)
	require.Error(t, shell(t.Context(), alice))
	a.play("default", "chess")
	for _, over := range protocols {
		_, _, err := a.run(over, "default", "chess", nil, enginetest.GamePath, enginetest.Say, "first", "second")
		require.NoError(t, err)
	}
	require.NoError(t, records.Delete(t.Context(), "chess", metav1.DeleteOptions{}))

	require.Equal(t, []string{
		"create gameruntimes/chess Created",
		"create gameruntimes/chess/exec Forbidden",
		"delete gameruntimes/chess OK",
	}, told(t, path, "alice"))
	require.Eventually(t, func() bool { return len(told(t, path, adminUser)) == len(protocols) }, patience, time.Millisecond, "shells are told of as they end")
	require.ElementsMatch(t, []string{
		"create gameruntimes/chess/exec Switching Protocols", // SPDY
		"get gameruntimes/chess/exec Switching Protocols",    // WebSocket
	}, told(t, path, adminUser))
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(written), "open-sesame")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

// shell asks for one in a game, as a writer may not.
func shell(ctx context.Context, config *rest.Config) error {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &schemaVersion, "/apis", scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return err
	}
	return client.Post().Namespace("default").Resource("gameruntimes").Name("chess").SubResource("exec").Do(ctx).Error()
}

var schemaVersion = games.GroupVersion()

func TestAPolicyThatIsNoneIsRefused(t *testing.T) {
	require.NoError(t, AuditOptions{Policy: config.AuditPolicy}.Check())
	require.ErrorContains(t, AuditOptions{Policy: []byte("rules: [")}.Check(), "reading the audit policy")
	require.ErrorContains(t, AuditOptions{Policy: []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Loud}]")}.Check(), "Loud")
}
