package apiserver

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

func testStatusAccess(t *testing.T, a *api) {
	records := func(name string) *rest.RESTClient {
		config := a.as(name)
		version := games.GroupVersion()
		config.APIPath, config.GroupVersion, config.NegotiatedSerializer = "/apis", &version, builtinCodecs
		client, err := rest.RESTClientFor(config)
		require.NoError(t, err)
		return client
	}
	phase := func() string {
		record, err := a.games("default").Get(t.Context(), "chess", metav1.GetOptions{})
		require.NoError(t, err)
		status, _ := record.Object["status"].(map[string]any)
		phase, _ := status["phase"].(string)
		return phase
	}
	patch := func(name, sub string) error {
		request := records(name).Patch("application/merge-patch+json").Namespace("default").Resource(games.Resource).Name("chess")
		if sub != "" {
			request = request.SubResource(sub)
		}
		return request.Body([]byte(`{"status":{"phase":"Running"}}`)).Do(t.Context()).Error()
	}
	require.NoError(t, records("writer").Post().Namespace("default").Resource(games.Resource).
		Body([]byte(manifest(t, game("chess")))).Do(t.Context()).Error())
	for _, name := range []string{"viewer", "writer", "stranger"} {
		require.ErrorContains(t, patch(name, "status"), "cannot patch resource \"gameruntimes/status\"", name)
	}
	require.NoError(t, patch("writer", ""), "the record is the writer's")
	require.Empty(t, phase(), "its status is not")
	require.NoError(t, patch("controller", "status"))
	require.Equal(t, "Running", phase())
}

// kubeconfigOf writes a file that lets a person in.
func (a *api) kubeconfigOf(name string) string {
	a.t.Helper()
	config := clientcmdapi.NewConfig()
	as := a.as(name)
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: as.Host, CertificateAuthorityData: as.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: as.BearerToken, ClientCertificateData: as.CertData, ClientKeyData: as.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	path := filepath.Join(a.t.TempDir(), "kubeconfig")
	require.NoError(a.t, clientcmd.WriteToFile(*config, path))
	return path
}

func testKubectlViewer(t *testing.T, a *api) {
	kubeconfig := a.kubeconfigOf("viewer")
	viewer := func(args ...string) (string, int) {
		return a.tryKubectl("", append(args, "--kubeconfig", kubeconfig)...)
	}

	who, code := viewer("auth", "whoami")
	require.Zero(t, code, who)
	require.Regexp(t, `Username +viewer`, who)
	require.Regexp(t, `Groups +\[galaxy:viewers system:authenticated\]`, who)

	answer, code := viewer("auth", "can-i", "list", "gr")
	require.Zero(t, code, answer)
	answer, code = viewer("auth", "can-i", "delete", "gr")
	require.Equal(t, 1, code, answer)
	require.Contains(t, answer, "no - galaxy:viewers may get, list, watch it")
	answer, code = viewer("auth", "can-i", "create", "gr", "--subresource=exec")
	require.Equal(t, 1, code, answer)

	list, code := viewer("auth", "can-i", "--list")
	require.Zero(t, code, list)
	require.Regexp(t, `gameruntimes.runtime.galaxy.io +\[\] +\[\] +\[get list watch\]`, list)
	require.Regexp(t, `gameruntimes.runtime.galaxy.io/plan +\[\] +\[\] +\[create\]`, list)
	require.Regexp(t, `selfsubjectreviews.authentication.k8s.io +\[\] +\[\] +\[create\]`, list)
	require.Regexp(t, `\[/readyz\] +\[\] +\[get\]`, list)
	require.NotContains(t, list, "exec")
	require.Regexp(t, `\*\.\* +\[\] +\[\] +\[\*\]`, a.kubectl("", "auth", "can-i", "--list"), "an administrator")

	refusal, code := viewer("delete", "gr", "none")
	require.Equal(t, 1, code)
	require.Contains(t, refusal, "Error from server (Forbidden)")
}

func testImpersonation(t *testing.T, a *api) {
	as := []string{"--as", "somebody", "--as-group", GroupViewers}
	answer, code := a.tryKubectl("", append(as, "auth", "can-i", "create", "gr")...)
	require.Equal(t, 1, code, answer)
	require.Contains(t, answer, "no - galaxy:viewers may")
	for _, p := range people {
		config := a.as(p.name)
		config.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: []string{GroupAdmins}}
		client, err := rest.HTTPClientFor(config)
		require.NoError(t, err)
		code, body := a.ask(client, http.MethodGet, "/apis/runtime.galaxy.io/v1alpha1/gameruntimes", "")
		if p.name == "admin" {
			require.Equal(t, http.StatusOK, code, body)
			continue
		}
		require.Equal(t, http.StatusForbidden, code, p.name)
		require.Contains(t, body, "impersonate", p.name)
	}
}

func testRefusals(t *testing.T, a *api) {
	for name, says := range map[string]string{
		"viewer": `gameruntimes.runtime.galaxy.io "chess" is forbidden: User "viewer" cannot delete resource "gameruntimes" in API group ` +
			`"runtime.galaxy.io" in the namespace "default": galaxy:viewers may get, list, watch it`,
		"stranger": `: the user is in no group that has a role here`,
	} {
		client, err := rest.HTTPClientFor(a.as(name))
		require.NoError(t, err)
		code, body := a.ask(client, http.MethodDelete, "/apis/runtime.galaxy.io/v1alpha1/namespaces/default/gameruntimes/chess", "")
		require.Equal(t, http.StatusForbidden, code)
		var status metav1.Status
		require.NoError(t, json.Unmarshal([]byte(body), &status))
		require.Contains(t, status.Message, says)
	}
}

func testIssuerAccess(t *testing.T, a *api, issuer *issuer) {
	ask := func(method, path, token string) int {
		config := a.as("nobody")
		config.BearerToken = token
		client, err := rest.HTTPClientFor(config)
		require.NoError(t, err)
		defer client.CloseIdleConnections()
		code, _ := a.ask(client, method, path, "")
		return code
	}
	require.Regexp(t, `\[.\]token-file ok\n\[.\]issuers `, a.readiness())
	for token, want := range map[string]int{"": http.StatusUnauthorized, "token-of-the-viewer": http.StatusForbidden} {
		code, _ := a.call("/readyz/issuers", token, nil)
		require.Equal(t, want, code, "why an issuer is away is for admins")
	}
	const records = "/apis/runtime.galaxy.io/v1alpha1/namespaces/default/gameruntimes"
	require.Eventually(t, func() bool { return ask(http.MethodGet, records, issuer.token(nil)) == http.StatusOK }, patience, 10*time.Millisecond)
	require.Equal(t, http.StatusForbidden, ask(http.MethodDelete, records+"/chess", issuer.token(nil)))
	require.Equal(t, http.StatusUnauthorized, ask(http.MethodGet, records, issuer.token(map[string]any{"aud": "somebody else"})))
}

// A manager on a cluster has the role that is generated from the loop's own markers;
// on our API it is in galaxy:controllers. People have the same two roles there as here.
func TestRolesOnAClusterAreTheSame(t *testing.T) {
	ours := games.Group
	for file, group := range map[string]string{
		"role.yaml": GroupControllers, "gameruntime_editor_role.yaml": GroupWriters, "gameruntime_viewer_role.yaml": GroupViewers,
	} {
		content, err := os.ReadFile(filepath.Join("../../config/rbac", file))
		require.NoError(t, err)
		var rules []rbacv1.PolicyRule
		for document := range strings.SplitSeq(string(content), "---\n") { // the lease is of one namespace
			var role rbacv1.ClusterRole
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), &role))
			rules = append(rules, role.Rules...)
		}
		var there, here []string
		for _, rule := range rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					require.Len(t, rule.APIGroups, 1)
					there = append(there, verb+" "+resource+"."+rule.APIGroups[0])
				}
			}
		}
		for _, g := range grants {
			// A cluster has no subresources of ours, and roles of its own for its own kinds.
			if g.group == ours && onlyHere(g.resource) || g.group != ours && group != GroupControllers {
				continue
			}
			for _, verb := range g.verbs([]string{group}) {
				here = append(here, verb+" "+g.resource+"."+g.group)
			}
		}
		require.ElementsMatch(t, there, here, file)
	}
}

func onlyHere(resource string) bool {
	_, sub, below := strings.Cut(resource, "/")
	return below && sub != "status" && sub != "finalizers"
}

// What the authenticator never lets through is refused a second time.
func TestPathsAreForTheirVerbAndTheirGroups(t *testing.T) {
	for _, c := range []struct {
		group, verb, path string
		want              authorizer.Decision
	}{
		{user.AllUnauthenticated, "get", "/readyz", authorizer.DecisionAllow},
		{user.AllUnauthenticated, "post", "/readyz", authorizer.DecisionNoOpinion},
		{user.AllUnauthenticated, "get", "/readyz/postgres", authorizer.DecisionNoOpinion},
		{user.AllUnauthenticated, "get", "/apis", authorizer.DecisionNoOpinion},
		{user.AllAuthenticated, "get", "/apis/runtime.galaxy.io", authorizer.DecisionAllow},
		{user.AllAuthenticated, "get", "/apisandmore", authorizer.DecisionNoOpinion},
		{user.AllAuthenticated, "post", "/apis/runtime.galaxy.io", authorizer.DecisionNoOpinion},
		{user.AllAuthenticated, "get", "/metrics", authorizer.DecisionNoOpinion},
		{GroupAdmins, "post", "/metrics", authorizer.DecisionAllow},
		{user.SystemPrivilegedGroup, "get", "/", authorizer.DecisionAllow},
	} {
		decision, _, err := authorize(t.Context(), authorizer.AttributesRecord{
			User: &user.DefaultInfo{Groups: []string{c.group}}, Verb: c.verb, Path: c.path,
		})
		require.NoError(t, err)
		require.Equal(t, c.want, decision, "%s %s by %s", c.verb, c.path, c.group)
	}
}
