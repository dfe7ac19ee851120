//go:build integration

package app

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

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
	require.Contains(t, body, `runtime_manager_dependency_up{dependency="postgres",needed="true"} 0`)
	require.Contains(t, body, "runtime_manager_build_info{")

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+app.telemetry.Addr().String()+"/metrics", nil)
	require.NoError(t, err)
	request.Host = "rebound.example.org"
	refused, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	require.Equal(t, http.StatusForbidden, refused.StatusCode, "to a page of the Web")

	cancel()
	require.NoError(t, <-ended)
	_, err = http.Get("http://" + app.telemetry.Addr().String() + "/livez")
	require.Error(t, err, "it ends with the manager")
}

// What a manager tells of itself, with all that it may depend on.
func TestTelemetry(t *testing.T) {
	lobby := httptest.NewServer(http.NotFoundHandler())
	defer lobby.Close()
	redis, sim := redistest.StartServer(t), enginetest.NewSim(demoImage)
	config, err := testConfig(t, func(c *Config) {
		c.MetricsAddress, c.RedisURL, c.LobbyURL = "127.0.0.1:0", redis.URL(), lobby.URL
	}).complete()
	require.NoError(t, err)
	m := startOn(t, config, sim)
	t.Run("metrics", func(t *testing.T) { testMetrics(t, m, redis) })
	t.Run("readiness", func(t *testing.T) { testReadiness(t, m, sim, redis) })
}

// Both ports name each dependency. Requests go on without some of them, and so
// the manager stays ready.
func testReadiness(t *testing.T, m *manager, sim *enginetest.Sim, redis *redistest.Server) {
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

// metricRow is a row of docs/metrics.md.
type metricRow struct{ kind, labels string }

// testMetrics holds the page to what there is, and what there is to the page and
// to Prometheus' conventions.
func testMetrics(t *testing.T, m *manager, redis *redistest.Server) {
	m.create(game("chess"))
	lost := game("lost")
	lost.Spec.Image = "nowhere.example/lost:1.0.0"
	m.create(lost)
	response, err := http.Get("http://" + m.app.services.Addr().String() + "/api/v1/internal/runtimes")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.NoError(t, redis.Client(t).XAdd(context.Background(), &goredis.XAddArgs{Stream: "runtime:start_jobs", Values: []string{
		"job_id", "1", "game_id", "hex", "image_ref", demoImage, "requested_at_ms", "1764000000000", "requested_by", "lobby",
	}}).Err())

	ours, libraries := documentedMetrics(t)
	var there, theirs map[string]metricRow
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		there, theirs = gatheredMetrics(t)
		for name := range ours {
			assert.Contains(t, there, name, "docs/metrics.md")
		}
	}, patience, 50*time.Millisecond)
	require.Equal(t, ours, there, "docs/metrics.md")
	for name, documented := range libraries {
		require.Contains(t, theirs, name, "docs/metrics.md")
		require.Equal(t, documented, theirs[name], "docs/metrics.md: %s", name)
	}
	problems, err := testutil.GatherAndLint(metrics.Registry, slices.Collect(maps.Keys(ours))...)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// gatheredMetrics are the families by name, those of our own apart.
func gatheredMetrics(t require.TestingT) (ours, libraries map[string]metricRow) {
	families, err := allMetrics.Gather()
	require.NoError(t, err)
	ours, libraries = map[string]metricRow{}, map[string]metricRow{}
	for _, family := range families {
		var labels []string
		for _, pair := range family.Metric[0].Label {
			labels = append(labels, "`"+pair.GetName()+"`")
		}
		into := libraries
		if strings.HasPrefix(family.GetName(), "runtime_manager_") {
			into = ours
		}
		slices.Sort(labels)
		into[family.GetName()] = metricRow{strings.ToLower(family.GetType().String()), strings.Join(labels, ", ")}
	}
	return ours, libraries
}

func documentedMetrics(t *testing.T) (ours, libraries map[string]metricRow) {
	page, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	ours, libraries = map[string]metricRow{}, map[string]metricRow{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		into := libraries
		if strings.HasPrefix(row[1], "runtime_manager_") {
			into = ours
		}
		require.NotContains(t, into, row[1], "docs/metrics.md has it twice")
		into[row[1]] = metricRow{row[2], strings.TrimSpace(row[3])}
	}
	return ours, libraries
}
