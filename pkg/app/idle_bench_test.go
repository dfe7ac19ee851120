//go:build integration

package app

import (
	"context"
	"flag"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// quiet is for how long a manager is watched that has nothing to do.
var quiet = flag.Duration("quiet", time.Minute, "how long BenchmarkIdle watches a manager that has nothing to do")

const probePeriod = 5 * time.Second

// BenchmarkIdle measures a manager in a process of its own whose games are all
// well: what of one core it uses, and of memory; what it asks of the engine and
// writes meanwhile. The floor is another process that asks the same games over
// HTTP as often, and does nothing else. The engine is not listed: a list belongs
// to a resync.
func BenchmarkIdle(b *testing.B) {
	for _, c := range []struct {
		name   string
		games  int
		probed bool
	}{
		{"records=10000/probes=0", 10_000, false},
		{"records=1000/probes=1000", 1_000, true},
		{"records=10000/probes=10000", 10_000, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				idle(b, c.games, c.probed)
			}
		})
	}
}

func idle(b *testing.B, games int, probed bool) {
	port, asked := respond(b)
	server := postgrestest.StartServer(b, postgrestest.ServerOptions{})
	config, err := testConfig(b, func(c *Config) { c.DatabaseURL, c.Resync = server.URL(), time.Hour }).complete()
	require.NoError(b, err)
	shelf := filepath.Join(b.TempDir(), "shelf")
	sim := enginetest.NewSim(demoImage)
	seed(b, config, sim, games, func(g *v1alpha1.GameRuntime) {
		if probed {
			g.Spec.Probes.Readiness = getEvery(probePeriod, port)
		}
	})
	database, err := postgres.Open(context.Background(), server.URL())
	require.NoError(b, err)
	defer database.Close()
	placed := 0
	putOnShelf(b, shelf, sim, namespaceID(b, database), func(c *engine.Container) {
		c.IP = loopback(placed)
		placed++
	})
	require.Equal(b, games, placed)

	m := startChild(b, job{Config: config, Shelf: shelf})
	began := revision(b, database)
	awaitQuiet(b, m, database, games)
	b.ReportMetric(float64(writes(b, database, began)["gameruntimes"])/float64(games), "start-writes/game")
	before := asked.Load()
	spent := watch(b, m, database)
	b.ReportMetric(float64(asked.Load()-before)/quiet.Seconds(), "probes/s")
	m.end()
	b.ReportMetric(100*spent, "%core")
	if !probed {
		return
	}
	bare := startChild(b, job{Bare: games, Port: port})
	bare.usage(asItIs)
	floor := load(b, bare, min(*quiet, 20*time.Second))
	bare.end()
	b.ReportMetric(100*floor, "floor-%core")
	b.ReportMetric(spent/floor, "ratio")
}

// respond answers every request of a game's probe, at all addresses of this host,
// and counts them.
func respond(b *testing.B) (port int32, asked *atomic.Int64) {
	asked = &atomic.Int64{}
	listener, err := net.Listen("tcp4", ":0")
	require.NoError(b, err)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			_, _ = io.WriteString(w, "ok") // or the asker went away
		}),
		ReadHeaderTimeout: time.Minute,
	}
	go func() { _ = server.Serve(listener) }() // until it is closed
	b.Cleanup(func() { _ = server.Close() })   // with the connections
	return int32(listener.Addr().(*net.TCPAddr).Port), asked
}

// getEvery is a probe as the API server completes it.
func getEvery(period time.Duration, port int32) *v1alpha1.Probe {
	return &v1alpha1.Probe{
		HTTPGet:       &v1alpha1.HTTPGetAction{Path: "/healthz", Port: port, Scheme: string(corev1.URISchemeHTTP)},
		PeriodSeconds: int32(period / time.Second), TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3,
	}
}

// namespaceID is the installation's id.
func namespaceID(b *testing.B, database *pgxpool.Pool) (id string) {
	const read = "SELECT uid FROM objects WHERE resource = 'namespaces' AND name = 'default'"
	require.NoError(b, database.QueryRow(context.Background(), read).Scan(&id))
	return id
}

// awaitQuiet waits until every game was looked at and is Ready, and no record was
// written for a while.
func awaitQuiet(b *testing.B, m *child, database *pgxpool.Pool, games int) {
	const settled = 3 * time.Second
	const readyNow = "SELECT count(*) FROM runtime_records WHERE ready = 'True'"
	looked, since := 0.0, time.Now()
	for begin := since; ; <-time.After(time.Second) {
		require.Less(b, time.Since(begin), 3*patience, "every game is Ready")
		if looks := m.usage(asItIs).Looks; looks < float64(games) || looks != looked {
			looked, since = looks, time.Now()
			continue
		}
		var ready int
		require.NoError(b, database.QueryRow(context.Background(), readyNow).Scan(&ready))
		if ready == games && time.Since(since) > settled {
			return
		}
	}
}

// watch reports what a manager does while nothing happens, and returns its load.
func watch(b *testing.B, m *child, database *pgxpool.Pool) float64 {
	before, began, commits := m.usage(asItIs), revision(b, database), committed(b, database)
	spent := load(b, m, *quiet)
	after, written := m.usage(collect), writes(b, database, began)
	b.Logf("writes in %v: %v; transactions, reads too: %d; looks: %v", *quiet, written, committed(b, database)-commits, after.Looks-before.Looks)
	b.ReportMetric(float64(written["gameruntimes"]+written["events"]), "writes")
	b.ReportMetric(float64(after.EngineCalls-before.EngineCalls), "engine-calls")
	b.ReportMetric(after.Resident, "rss-MB")
	b.ReportMetric(after.Program, "program-MB")
	b.ReportMetric(after.Peak, "peak-rss-MB")
	b.ReportMetric(after.Heap, "heap-MB")
	return spent
}

// load is the share of one core that a child uses in a while.
func load(b *testing.B, c *child, while time.Duration) float64 {
	before, begin := c.usage(asItIs), time.Now()
	<-time.After(while)
	return (c.usage(asItIs).Processor - before.Processor).Seconds() / time.Since(begin).Seconds()
}

func revision(b *testing.B, database *pgxpool.Pool) (at int64) {
	require.NoError(b, database.QueryRow(context.Background(), "SELECT revision FROM clock").Scan(&at))
	return at
}

// writes counts what was written since a revision, by kind of record.
func writes(b *testing.B, database *pgxpool.Pool, since int64) map[string]int {
	const count = "SELECT split_part(split_part(key, '/', 2), '.', 1), count(*) FROM changes WHERE revision > $1 GROUP BY 1"
	rows, err := database.Query(context.Background(), count, since)
	require.NoError(b, err)
	written := map[string]int{}
	var kind string
	var number int
	_, err = pgx.ForEachRow(rows, []any{&kind, &number}, func() error { written[kind] = number; return nil })
	require.NoError(b, err)
	return written
}

// committed counts the transactions of a database, those that only read too.
func committed(b *testing.B, database *pgxpool.Pool) (transactions int64) {
	const read = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
	require.NoError(b, database.QueryRow(context.Background(), read).Scan(&transactions))
	return transactions
}
