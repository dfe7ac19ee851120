//go:build integration

package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// ask asks the metrics port.
func (a *App) ask(t testing.TB, path string) (status int, body string) {
	t.Helper()
	response, err := http.Get("http://" + a.telemetry.Addr().String() + path)
	require.NoError(t, err)
	defer response.Body.Close()
	told, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(told)
}

// A manager that waits for its database can be asked why it does.
func TestTelemetryIsThereFirst(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // a database that accepts and never answers
	require.NoError(t, err)
	defer silent.Close()
	config, err := testConfig(t, func(c *Config) {
		c.MetricsAddress, c.DatabaseURL = "127.0.0.1:0", "postgres://"+silent.Addr().String()+"/games?sslmode=disable&connect_timeout=60"
	}).complete()
	require.NoError(t, err)
	app, err := newApp(config, logr.Discard(), enginetest.NewSim(demoImage))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()

	status, body := app.ask(t, "/livez")
	require.Equal(t, 200, status, body)
	status, body = app.ask(t, "/readyz")
	require.Equal(t, 500, status, body)
	for _, line := range []string{"[-]postgres failed", "[-]crds failed", "[-]migrations failed", "[~]engine degraded"} {
		require.Contains(t, body, line)
	}
	_, body = app.ask(t, "/readyz/postgres")
	require.Contains(t, body, "the manager starts")
	status, body = app.ask(t, "/metrics")
	require.Equal(t, 200, status)
	require.Contains(t, body, "go_goroutines")

	cancel()
	require.NoError(t, <-ended)
	_, err = http.Get("http://" + app.telemetry.Addr().String() + "/livez")
	require.Error(t, err, "it ends with the manager")
}

// Both ports name each dependency. Requests go on without some of them, and so
// the manager stays ready.
func TestReadinessByDependency(t *testing.T) {
	lobby := httptest.NewServer(http.NotFoundHandler())
	defer lobby.Close()
	redis, sim := redistest.StartServer(t), enginetest.NewSim(demoImage)
	config, err := testConfig(t, func(c *Config) {
		c.MetricsAddress, c.RedisURL, c.LobbyURL = "127.0.0.1:0", redis.URL(), lobby.URL
	}).complete()
	require.NoError(t, err)
	m := startOn(t, config, sim)
	access, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig)
	require.NoError(t, err)
	api := kubernetes.NewForConfigOrDie(access).RESTClient()
	asked := map[string]func(path string) string{
		"metrics": func(path string) string { _, body := m.app.ask(t, path); return body },
		"API": func(path string) string {
			body, err := api.Get().AbsPath(strings.TrimSuffix(path, "?verbose")).Param("verbose", "").DoRaw(context.Background())
			if err != nil {
				return err.Error()
			}
			return string(body)
		},
	}
	told := func(lines ...string) {
		t.Helper()
		for port, ask := range asked {
			var body string
			require.Eventually(t, func() bool {
				body = ask("/readyz?verbose")
				for _, line := range append(lines, "readyz check passed") {
					if !strings.Contains(body, line+"\n") {
						return false
					}
				}
				return true
			}, patience, 50*time.Millisecond, "the %s port tells %q", port, lines)
		}
	}
	told("[+]postgres ok", "[+]migrations ok", "[+]watch ok", "[+]crds ok", "[+]engine ok", "[+]lease ok", "[+]clock ok", "[+]redis ok", "[+]lobby ok")

	sim.SetDown(true)
	redis.Stop(t)
	told("[~]engine degraded: reason withheld", "[~]redis degraded: reason withheld", "[+]lease ok")
	_, why := m.app.ask(t, "/readyz/engine")
	require.Contains(t, why, "not reachable")
}
