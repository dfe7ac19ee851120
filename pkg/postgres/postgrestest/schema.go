// Package postgrestest gives each test clean tables on a real PostgreSQL: the
// one at RTM_TEST_DATABASE_URL, or a child server that the test binary shares.
package postgrestest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"galaxy.io/runtime-manager/pkg/postgres"
)

var (
	server  sync.Mutex
	child   *postgres.Embedded
	address string
	dir     string
	count   atomic.Int64
)

// Main runs a package's tests and stops the child server after them.
func Main(m *testing.M) {
	code := m.Run()
	stop()
	os.Exit(code)
}

func stop() {
	if child == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := child.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the test server:", err)
	}
	_ = os.RemoveAll(dir) // in the system's temporary directory
}

// base is the URL of the server, started at the first call.
func base(t testing.TB) string {
	t.Helper()
	server.Lock()
	defer server.Unlock()
	if address != "" {
		return address
	}
	if given := os.Getenv("RTM_TEST_DATABASE_URL"); given != "" {
		address = given
		return address
	}
	if err := startChild(); err != nil {
		t.Fatal(err)
	}
	address = child.URL()
	return address
}

// startChild starts the server that all tests of the binary share.
func startChild() (err error) {
	if dir, err = tempDir(); err != nil {
		return err
	}
	child, err = postgres.StartEmbedded(context.Background(), postgres.EmbeddedOptions{
		Dir: filepath.Join(dir, "postgres"), Log: logr.Discard(),
	})
	return err
}

// tempDir is one that the server's user, who may be another, can reach.
func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "rtm-pg")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// URL is a database with a clean, migrated schema, dropped after the test.
func URL(t testing.TB) string {
	t.Helper()
	ctx, address := context.Background(), EmptyURL(t)
	pool, err := postgres.Open(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.Migrate(ctx, pool); err != nil {
		t.Fatal(err)
	}
	return address
}

// EmptyURL is a database with a schema without tables, dropped after the test.
func EmptyURL(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, base(t))
	if err != nil {
		t.Fatal(err)
	}
	schema := fmt.Sprintf("test_%d_%d", os.Getpid(), count.Add(1))
	if _, err := admin.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			t.Error(err)
		}
		if err := admin.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(base(t))
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// Schema is a pool on what URL gives.
func Schema(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(context.Background(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
