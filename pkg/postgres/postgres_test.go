package postgres_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(migrateHere); url != "" {
		os.Exit(migrateProcess(url))
	}
	postgrestest.Main(m)
}

const patience = 30 * time.Second

// open is a directory that the server's user can reach.
func open(t *testing.T) string {
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return filepath.Join(dir, "postgres")
}

func start(t *testing.T, dir string) *postgres.Embedded {
	t.Helper()
	e, err := postgres.StartEmbedded(context.Background(), postgres.EmbeddedOptions{Dir: dir, Log: logr.Discard()})
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, e) })
	return e
}

func stop(t *testing.T, e *postgres.Embedded) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, e.Stop(ctx))
}

// as is the URL of another role.
func as(t *testing.T, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.User(role)
	return u.String()
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	pool, err := postgres.Open(context.Background(), url)
	require.NoError(t, err)
	defer pool.Close()
	var answer string
	require.NoError(t, pool.QueryRow(context.Background(), sql).Scan(&answer))
	return answer
}

func TestEmbeddedKeepsItsDataOverARestart(t *testing.T) {
	dir := open(t)
	first := start(t, dir)
	query(t, first.URL(), "WITH t AS (SELECT set_config('a.b', '1', false)) SELECT 'ok' FROM t")
	pool, err := postgres.Open(context.Background(), first.URL())
	require.NoError(t, err)
	_, err = pool.Exec(context.Background(), "CREATE TABLE kept AS SELECT 'still here' AS what")
	require.NoError(t, err)
	pool.Close()
	stop(t, first)
	stop(t, first) // once more does no harm
	require.Equal(t, "still here", query(t, start(t, dir).URL(), "SELECT what FROM kept"))
}

func TestEmbeddedIsReachedOnItsSocketAlone(t *testing.T) {
	e := start(t, open(t))
	require.Empty(t, query(t, e.URL(), "SHOW listen_addresses"))
	require.Equal(t, "0700", query(t, e.URL(), "SHOW unix_socket_permissions"))
}

func TestEmbeddedKeepsWhatItAcknowledged(t *testing.T) {
	e := start(t, open(t))
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		require.Equal(t, "on", query(t, e.URL(), "SELECT reset_val FROM pg_settings WHERE name = '"+setting+"'"), setting)
	}
}

// TestAServerLeftBehindIsEnded: what a manager that was killed leaves behind is
// a server that still runs, and its locks.
func TestAServerLeftBehindIsEnded(t *testing.T) {
	dir := open(t)
	orphan := start(t, dir)
	heir := start(t, dir)
	<-orphan.Exited()
	require.Equal(t, "1", query(t, heir.URL(), "SELECT '1'"))
}

func TestStaleLocksAreRemoved(t *testing.T) {
	dir := open(t)
	first := start(t, dir)
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.SplitN(string(content), "\n", 2)[0])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL)) // no time to clean up
	<-first.Exited()
	require.FileExists(t, pidFile)
	// The number is a living process's by now, and not a server's: ours.
	stale := strings.Replace(string(content), strconv.Itoa(pid), strconv.Itoa(os.Getpid()), 1)
	require.NoError(t, os.WriteFile(pidFile, []byte(stale), 0o600))
	require.Equal(t, "1", query(t, start(t, dir).URL(), "SELECT '1'"))
}

func TestInterruptedInitialisationIsDoneAnew(t *testing.T) {
	dir := open(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o755))
	require.Equal(t, "1", query(t, start(t, dir).URL(), "SELECT '1'"))
}

func TestLongDirectory(t *testing.T) {
	dir := filepath.Join(filepath.Dir(open(t)), strings.Repeat("long", 30), "postgres")
	require.Equal(t, "1", query(t, start(t, dir).URL(), "SELECT '1'"), "a socket's path may have 107 bytes")
}
