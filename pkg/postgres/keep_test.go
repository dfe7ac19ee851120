package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// keeping is a server that is started again whenever it ends.
type keeping struct {
	*postgres.Embedded
	dir string
	// said are the lines of its log.
	said  chan string
	stop  func()
	ended chan error
}

func keep(t *testing.T) *keeping {
	k := &keeping{dir: open(t), said: make(chan string, 100), ended: make(chan error, 1)}
	log := funcr.New(func(_, args string) { k.said <- args }, funcr.Options{})
	var err error
	k.Embedded, err = postgres.StartEmbedded(context.Background(), postgres.EmbeddedOptions{Dir: k.dir, Log: log})
	require.NoError(t, err)
	require.Contains(t, k.says(t), "making a database")
	require.Contains(t, k.says(t), "started")
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.ended <- k.Keep(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		stop(t, k.Embedded)
	})
	return k
}

func (k *keeping) says(t *testing.T) string {
	t.Helper()
	select {
	case line := <-k.said:
		return line
	case <-time.After(patience):
		t.Fatal("it says nothing")
		return ""
	}
}

func TestKeepStartsAgainWhatWasKilled(t *testing.T) {
	ctx := context.Background()
	k := keep(t)
	pool := openPool(t, k.URL())
	_, err := pool.Exec(ctx, "CREATE TABLE kept (n integer)")
	require.NoError(t, err)
	for n := range 3 {
		_, err := openPool(t, k.URL()).Exec(ctx, "INSERT INTO kept VALUES ($1)", n)
		require.NoError(t, err, "it answers")
		postgrestest.Kill(t, k.dir)
		require.Contains(t, k.says(t), "killed")
		require.Contains(t, k.says(t), "answers again")
	}
	require.Equal(t, "3", query(t, k.URL(), "SELECT count(*)::text FROM kept"), "no commit is lost")

	k.stop()
	require.NoError(t, <-k.ended)
	require.Empty(t, k.said, "a line for each change, and no more")
	select {
	case <-k.Exited():
		t.Fatal("who keeps it does not stop it")
	default:
	}
}

func TestKeepGivesUpWhereTheDataIsGone(t *testing.T) {
	k := keep(t)
	data, away := filepath.Join(k.dir, "data"), filepath.Join(k.dir, "away")
	require.NoError(t, os.Mkdir(away, 0o711))
	require.NoError(t, os.Rename(data, filepath.Join(away, "data")))
	postgrestest.Kill(t, away)
	select {
	case err := <-k.ended:
		require.ErrorContains(t, err, "cannot be started any more")
		require.NotContains(t, err.Error(), "\n")
	case <-time.After(patience):
		t.Fatal("it goes on trying")
	}
	require.NoDirExists(t, data, "nothing is made in its place")
}
