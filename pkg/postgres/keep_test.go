package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// kept starts a server that is started again whenever it ends.
func kept(t *testing.T) (e *postgres.Embedded, dir string, stop func(), ended <-chan error) {
	dir = open(t)
	e = start(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- e.Keep(ctx) }()
	t.Cleanup(cancel)
	return e, dir, cancel, result
}

func TestKeepStartsAgainWhatWasKilled(t *testing.T) {
	ctx := context.Background()
	e, dir, stop, ended := kept(t)
	pool := openPool(t, e.URL())
	_, err := pool.Exec(ctx, "CREATE TABLE kept (n integer)")
	require.NoError(t, err)
	for n := range 3 {
		_, err := openPool(t, e.URL()).Exec(ctx, "INSERT INTO kept VALUES ($1)", n)
		require.NoError(t, err, "it answers again")
		exited := e.Exited()
		postgrestest.Kill(t, dir)
		<-exited
	}
	require.Equal(t, strconv.Itoa(3), query(t, e.URL(), "SELECT count(*)::text FROM kept"), "no commit is lost")

	stop()
	require.NoError(t, <-ended)
	select {
	case <-e.Exited():
		t.Fatal("who keeps it does not stop it")
	default:
	}
}

func TestKeepGivesUpWhereTheDataIsGone(t *testing.T) {
	_, dir, _, ended := kept(t)
	data, away := filepath.Join(dir, "data"), filepath.Join(dir, "away")
	require.NoError(t, os.Mkdir(away, 0o711))
	require.NoError(t, os.Rename(data, filepath.Join(away, "data")))
	postgrestest.Kill(t, away)
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "cannot be started any more")
		require.NotContains(t, err.Error(), "\n")
	case <-time.After(patience):
		t.Fatal("it goes on trying")
	}
	require.NoDirExists(t, data, "nothing is made in its place")
}
