package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// TestCommittedSurvivesAKill is what every acknowledged write stands on.
func TestCommittedSurvivesAKill(t *testing.T) {
	ctx := context.Background()
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{Settings: []string{"max_connections=20"}})
	pool, err := postgres.Open(ctx, server.URL())
	require.NoError(t, err)
	defer pool.Close()
	_, err = pool.Exec(ctx, "CREATE TABLE kept AS SELECT 'still here' AS what")
	require.NoError(t, err)

	server.Kill(t)
	require.Error(t, pool.Ping(ctx))
	server.Start(t)
	require.Equal(t, "still here", query(t, server.URL(), "SELECT what FROM kept"))
	require.Equal(t, "20", query(t, server.URL(), "SHOW max_connections"))
	server.Stop(t)
	server.Start(t)
	require.Equal(t, "still here", query(t, server.URL(), "SELECT what FROM kept"))
}

func TestStandbyFollowsAndOnlyReads(t *testing.T) {
	ctx := context.Background()
	primary := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	standby := primary.Standby(t)
	pool, err := postgres.Open(ctx, primary.URL())
	require.NoError(t, err)
	defer pool.Close()
	_, err = pool.Exec(ctx, "CREATE TABLE kept AS SELECT 'here too' AS what")
	require.NoError(t, err)
	replica, err := postgres.Open(ctx, standby.URL())
	require.NoError(t, err)
	defer replica.Close()
	require.Eventually(t, func() bool {
		var what string
		return replica.QueryRow(ctx, "SELECT what FROM kept").Scan(&what) == nil && what == "here too"
	}, patience, 10*time.Millisecond)
	_, err = replica.Exec(ctx, "DROP TABLE kept")
	require.ErrorContains(t, err, "read-only transaction")
}
