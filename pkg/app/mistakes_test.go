//go:build integration

package app

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// Each of these mistakes lets the manager start: what is told of it, and where.

func TestMistakeNoEngine(t *testing.T) {
	socket := filepath.Join(tempDir(t), "nobody.sock")
	m := startManager(t, func(c *Config) { c.DockerHost = "unix://" + socket })
	m.create(game("chess"))
	g := m.await("chess", "a reason", func(g *v1alpha1.GameRuntime) bool {
		return meta.IsStatusConditionFalse(g.Status.Conditions, v1alpha1.ConditionEngineReachable)
	})
	for _, told := range []string{
		meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionEngineReachable).Message,
		g.Status.Pending.Message,
		m.app.engineAnswers(t.Context()).Error(), // of /readyz
	} {
		require.Contains(t, told, "no engine answers: start it (systemctl start docker), or name its address with --docker-host")
		require.NotContains(t, told, socket)
	}
	m.stop() // the record stays: without an engine it cannot go
}

// A clock is shadowed by one of the test's own, in a schema that is looked into first.
func TestMistakeClockFarOff(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	conn, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `CREATE SCHEMA off; CREATE FUNCTION off.clock_timestamp() RETURNS timestamptz
		RETURN pg_catalog.clock_timestamp() + interval '1 hour'`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	lines := make(chan string, 1000)
	log := funcr.New(func(_, line string) {
		if strings.Contains(line, "NTP") {
			lines <- line
		}
	}, funcr.Options{})
	config, err := testConfig(t, func(c *Config) {
		c.DatabaseURL, c.DockerHost = server.URL()+"&search_path=off,pg_catalog", "unix:///nobody.sock"
	}).complete()
	require.NoError(t, err)
	app, err := New(config, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- app.Run(ctx) }()
	select {
	case line := <-lines:
		require.Contains(t, line, "the database's clock is 1h0m0s ahead of ours")
	case <-time.After(patience):
		t.Error("not a word of the clock")
	}
	cancel()
	require.NoError(t, <-done)
}
