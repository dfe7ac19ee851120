package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// listening calls on the channel until the test ends.
func listening(t *testing.T, pool *pgxpool.Pool) (await func()) {
	ctx, cancel := context.WithCancel(context.Background())
	woken, done := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(done)
		postgres.Listen(ctx, pool, "news", logr.Discard(), func(string) { woken <- struct{}{} })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return func() {
		t.Helper()
		select {
		case <-woken:
		case <-time.After(patience):
			t.Fatal("no call")
		}
	}
}

func notify(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	_, err := pool.Exec(context.Background(), "NOTIFY news")
	require.NoError(t, err)
}

func TestListenComesBack(t *testing.T) {
	pool := postgrestest.Schema(t)
	await := listening(t, pool)
	await() // connected
	notify(t, pool)
	await()
	_, err := pool.Exec(context.Background(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN \"news\"'")
	require.NoError(t, err)
	await() // connected anew
	notify(t, pool)
	await()
}

func TestListenOutlivesTheServer(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	pool := openPool(t, server.URL())
	await := listening(t, pool)
	for _, end := range []func(testing.TB){server.Kill, server.Stop} {
		await() // connected
		notify(t, pool)
		await()
		end(t)
		server.Start(t)
		pool.Reset()
	}
	await()
	notify(t, pool)
	await()
}
