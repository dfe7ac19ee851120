package rtctl

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

var began = time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)

// story is what the manager under test tells of league/chess.
var story = v1alpha1.GameRuntimeHistory{
	TypeMeta: metav1.TypeMeta{APIVersion: "runtime.galaxy.io/v1alpha1", Kind: "GameRuntimeHistory"},
	Items: []v1alpha1.HistoryEntry{
		{
			At: metav1.NewMicroTime(began), Kind: v1alpha1.HistoryOperation, What: v1alpha1.ActionStart, Outcome: v1alpha1.OperationFailed,
			Code: v1alpha1.CodeContainerStartFailed, By: "lobby", Duration: &metav1.Duration{Duration: 1234567 * time.Microsecond},
			Message: "port 8080 is taken\nby nobody knows whom", Container: "0123456789abcdef", Operation: "b9d4",
		},
		{
			At: metav1.NewMicroTime(began.Add(time.Minute)), Kind: v1alpha1.HistoryOperation, What: v1alpha1.ActionStart,
			Outcome: v1alpha1.OperationSucceeded, Duration: &metav1.Duration{Duration: 250400 * time.Microsecond},
		},
		{
			At: metav1.NewMicroTime(began.Add(2 * time.Minute)), Kind: v1alpha1.HistoryHealth, What: string(v1alpha1.HealthContainerExited),
			Code: string(v1alpha1.TerminationCrashed), Details: &runtime.RawExtension{Raw: []byte(`{"reason":"Crashed","exitCode":3,"log":["a line"]}`)},
		},
		{At: metav1.NewMicroTime(began.Add(3 * time.Minute)), Kind: v1alpha1.HistoryOperation, What: v1alpha1.ActionStop},
	},
}

// manager is an API that answers for some games, and the address and authority
// that a kubeconfig for it has.
type manager struct {
	*httptest.Server
	// asked is the last request's query.
	asked string
}

func startManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{}
	status := func(w http.ResponseWriter, err *apierrors.StatusError) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(err.ErrStatus.Code))
		err.ErrStatus.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		_ = json.NewEncoder(w).Encode(err.ErrStatus) // the test sees a cut answer
	}
	const games = "/apis/runtime.galaxy.io/v1alpha1/namespaces/league/gameruntimes/"
	resource := v1alpha1.GroupVersion.WithResource("gameruntimes").GroupResource()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+games+"{game}/history", func(w http.ResponseWriter, req *http.Request) {
		m.asked = req.URL.RawQuery
		switch game := req.PathValue("game"); game {
		case "chess":
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(story) // the test sees a cut answer
		case "young":
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v1alpha1.GameRuntimeHistory{TypeMeta: story.TypeMeta, Items: []v1alpha1.HistoryEntry{}})
		case "secret":
			status(w, apierrors.NewUnauthorized("Unauthorized"))
		default:
			status(w, apierrors.NewNotFound(resource, game))
		}
	})
	m.Server = httptest.NewUnstartedServer(mux)
	m.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it
	m.StartTLS()
	t.Cleanup(m.Close)
	return m
}

// kubeconfig writes one for a server, in which league is the namespace.
func kubeconfig(t *testing.T, path, server string, authority []byte) {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["m"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: authority}
	config.Contexts["m"] = &clientcmdapi.Context{Cluster: "m", Namespace: "league"}
	config.CurrentContext = "m"
	require.NoError(t, clientcmd.WriteToFile(*config, path))
}

func (m *manager) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw})
}

// here is a machine with a home and a working directory, and no kubeconfig.
func here(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("KUBECONFIG", "")
	t.Setenv(dataDirVariable, "")
	t.Chdir(t.TempDir())
	return home
}

func rtctl(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	command := Command(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errs}, "v1")
	command.SetArgs(append([]string{}, args...)) // nil would be the arguments of the test binary
	err = command.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// known is a manager whose kubeconfig lies in the default data directory.
func known(t *testing.T) *manager {
	t.Helper()
	m := startManager(t)
	kubeconfig(t, filepath.Join(here(t), ".runtime-manager", "kubeconfig"), m.URL, m.authority())
	return m
}

func TestHistoryTable(t *testing.T) {
	known(t)
	at := func(minutes int) string {
		return began.Add(time.Duration(minutes) * time.Minute).Local().Format(time.DateTime)
	}
	stdout, stderr, err := rtctl(t, "history", "chess")
	require.NoError(t, err)
	require.Empty(t, stderr)
	require.Equal(t, ""+
		"WHEN                  WHAT               OUTCOME                           BY      TOOK    DETAIL\n"+
		at(0)+"   start              Failed (container_start_failed)   lobby   1.23s   port 8080 is taken...\n"+
		at(1)+"   start              Succeeded                         -       250ms   \n"+
		at(2)+"   container_exited   Crashed                           -       -       exitCode=3 reason=Crashed\n"+
		at(3)+"   stop               under way                         -       -       \n", stdout)

	stdout, _, err = rtctl(t, "history", "chess", "-o", "wide")
	require.NoError(t, err)
	require.Contains(t, strings.Split(stdout, "\n")[1], "0123456789ab   b9d4")
}

func TestHistoryAsData(t *testing.T) {
	known(t)
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(content []byte, into any) error { return yaml.Unmarshal(content, into) },
	} {
		stdout, _, err := rtctl(t, "history", "chess", "-o", format)
		require.NoError(t, err)
		var told v1alpha1.GameRuntimeHistory
		require.NoError(t, decode([]byte(stdout), &told))
		require.Equal(t, story.TypeMeta, told.TypeMeta)
		require.Len(t, told.Items, len(story.Items))
		require.Equal(t, story.Items[0].Message, told.Items[0].Message)
		require.JSONEq(t, string(story.Items[2].Details.Raw), string(told.Items[2].Details.Raw))
	}
	stdout, _, err := rtctl(t, "history", "young", "-o", "json")
	require.NoError(t, err)
	require.Contains(t, stdout, `"items": []`, "programs get an empty list")
}

func TestEmptyHistory(t *testing.T) {
	known(t)
	stdout, stderr, err := rtctl(t, "history", "young", "--since", "1h")
	require.NoError(t, err)
	require.Empty(t, stdout)
	require.Equal(t, "Nothing is recorded of league/young since 1h.\n", stderr)
}

func TestHistoryParameters(t *testing.T) {
	m := known(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"--since", "1h"}, "since=3600"},
		{[]string{"--since", "1500ms"}, "since=2"},
		{[]string{"--since", "2026-11-25T16:00:00Z", "--limit", "5"}, "limit=5&since=2026-11-25T16%3A00%3A00Z"},
	} {
		_, _, err := rtctl(t, append([]string{"history", "chess"}, c.args...)...)
		require.NoError(t, err)
		require.Equal(t, c.want, m.asked, "%v", c.args)
	}
}

// Whatever goes wrong is told in one line that says what to do about it.
func TestHistoryErrors(t *testing.T) {
	m := known(t)
	other, free := filepath.Join(t.TempDir(), "other"), filepath.Join(t.TempDir(), "free")
	kubeconfig(t, other, m.URL, foreignAuthority(t))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	kubeconfig(t, free, "https://"+listener.Addr().String(), m.authority())
	require.NoError(t, listener.Close())

	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no game":           {[]string{"none"}, "league/none: there is no such game, and no history of one: rtctl get gr -A lists all games"},
		"no argument":       {nil, "history takes the name of one game, got 0"},
		"another server":    {[]string{"chess", "-n", "elsewhere"}, "serves no games: is "},
		"another authority": {[]string{"chess", "--kubeconfig", other}, "is not the manager that " + other + " is for"},
		"nobody listens":    {[]string{"chess", "--kubeconfig", free}, "no manager answers at https://" + listener.Addr().String()},
		"no file":           {[]string{"chess", "--kubeconfig", "/no/such/file"}, "kubeconfig /no/such/file"},
		"not known":         {[]string{"secret"}, "does not know whom "},
		"a bad format":      {[]string{"chess", "-o", "xml"}, `--output: must be table, wide, json or yaml, is "xml"`},
		"a bad time":        {[]string{"chess", "--since", "monday"}, "--since: must be a duration"},
		"a time to come":    {[]string{"chess", "--since", "-1h"}, "--since: must be a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := rtctl(t, append([]string{"history"}, c.args...)...)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
			require.Empty(t, stdout)
		})
	}
}

// foreignAuthority is one that signed no server here.
func foreignAuthority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	content, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content})
}

// The manager's kubeconfig is found where a manager may have put it, and what
// people say comes first.
func TestKubeconfigPlaces(t *testing.T) {
	m := startManager(t)
	home := here(t)
	_, _, err := rtctl(t, "history", "chess")
	require.ErrorContains(t, err, "no manager is known here: there is no "+filepath.Join(home, ".runtime-manager", "kubeconfig")+" and no .run/kubeconfig")

	works := func() {
		t.Helper()
		stdout, _, err := rtctl(t, "history", "chess")
		require.NoError(t, err)
		require.Contains(t, stdout, "container_exited")
	}
	fails := func(want string, args ...string) {
		t.Helper()
		_, _, err := rtctl(t, append([]string{"history", "chess"}, args...)...)
		require.ErrorContains(t, err, want)
	}
	broken := func(path string) { kubeconfig(t, path, "https://127.0.0.1:1", m.authority()) }

	kubeconfig(t, filepath.Join(".run", "kubeconfig"), m.URL, m.authority())
	works()
	broken(filepath.Join(home, ".runtime-manager", "kubeconfig"))
	fails(".runtime-manager/kubeconfig")
	data := t.TempDir()
	t.Setenv(dataDirVariable, data)
	fails("there is no " + filepath.Join(data, "kubeconfig"))
	kubeconfig(t, filepath.Join(data, "kubeconfig"), m.URL, m.authority())
	works()
	environment := filepath.Join(t.TempDir(), "environment")
	broken(environment)
	t.Setenv("KUBECONFIG", environment)
	fails(environment)
	t.Setenv("KUBECONFIG", filepath.Join(data, "nothing"))
	fails("there is no such file, or nothing in it")
	stdout, _, err := rtctl(t, "history", "chess", "--kubeconfig", filepath.Join(data, "kubeconfig"))
	require.NoError(t, err)
	require.NotEmpty(t, stdout)
}
