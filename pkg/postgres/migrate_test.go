package postgres_test

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/migrations"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// migrateHere makes the test binary a process that migrates the database named
// by the variable.
const migrateHere = "POSTGRES_TEST_MIGRATE"

func migrateProcess(url string) int {
	pool, err := postgres.Open(context.Background(), url)
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	os.Stdout.WriteString("migrating\n")
	if err := postgres.Migrate(context.Background(), pool); err != nil {
		panic(err)
	}
	return 0
}

// empty is a database without tables, for as long as the test.
func empty(t *testing.T) (url string, pool *pgxpool.Pool) {
	t.Helper()
	url = postgrestest.EmptyURL(t)
	return url, openPool(t, url)
}

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// migrated checks that every migration was applied, and once.
func migrated(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	files, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	var applied, different int
	require.NoError(t, pool.QueryRow(context.Background(),
		"SELECT count(*), count(DISTINCT version_id) FROM goose_db_version WHERE version_id > 0").Scan(&applied, &different))
	require.Equal(t, len(files), applied)
	require.Equal(t, len(files), different)
	require.NoError(t, postgres.CheckMigrated(context.Background(), pool))
}

// holdUp makes the first migration wait in its middle: another transaction has
// a table of that name, and has not yet said whether it keeps it.
func holdUp(t *testing.T, pool *pgxpool.Pool) (waiting func() (pid int), letGo func()) {
	t.Helper()
	ctx := context.Background()
	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(ctx) }) // if the test did not come to it
	_, err = tx.Exec(ctx, "CREATE TABLE changes ()")
	require.NoError(t, err)
	waiting = func() (pid int) {
		t.Helper()
		require.Eventually(t, func() bool {
			return pool.QueryRow(ctx, "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%CREATE TABLE changes (%'").Scan(&pid) == nil
		}, patience, 10*time.Millisecond, "the migration waits in its middle")
		return pid
	}
	return waiting, func() { require.NoError(t, tx.Rollback(ctx)) }
}

func TestMigrateCanBeRunAgain(t *testing.T) {
	pool := postgrestest.Schema(t)
	require.NoError(t, postgres.Migrate(context.Background(), pool))
	var n int
	require.NoError(t, pool.QueryRow(context.Background(), "SELECT count(*) FROM clock").Scan(&n))
	require.Equal(t, 1, n)
}

func TestMigrateAgainAfterItsConnectionWasEnded(t *testing.T) {
	ctx := context.Background()
	url, pool := empty(t)
	waiting, letGo := holdUp(t, pool)
	failed := make(chan error, 1)
	other := openPool(t, url)
	go func() { failed <- postgres.Migrate(ctx, other) }()
	_, err := pool.Exec(ctx, "SELECT pg_terminate_backend($1)", waiting())
	require.NoError(t, err)
	err = <-failed
	require.ErrorContains(t, err, "migrating the database")
	require.NotContains(t, err.Error(), "\n")
	letGo()

	var tables int
	require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'goose_db_version'").Scan(&tables))
	require.Zero(t, tables, "nothing is half done")
	require.NoError(t, postgres.Migrate(ctx, other))
	migrated(t, pool)
}

func TestMigrateAgainAfterItsProcessWasKilled(t *testing.T) {
	url, pool := empty(t)
	waiting, letGo := holdUp(t, pool)
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), migrateHere+"="+url)
	out, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	waiting()
	require.NoError(t, process.Process.Kill())
	require.Error(t, process.Wait())
	letGo()

	require.NoError(t, postgres.Migrate(context.Background(), pool))
	migrated(t, pool)
}

func TestProcessesThatMigrateTogetherTakeTurns(t *testing.T) {
	url, pool := empty(t)
	var group errgroup.Group
	for range 8 {
		other := openPool(t, url+"&pool_max_conns=1") // the fewest that there can be
		group.Go(func() error { return postgres.Migrate(context.Background(), other) })
	}
	require.NoError(t, group.Wait())
	migrated(t, pool)
}

// TestOlderBinaryOnNewerTables is the second half of a rolling restart: it runs,
// and takes nothing back.
func TestOlderBinaryOnNewerTables(t *testing.T) {
	ctx := context.Background()
	_, pool := empty(t)
	newer := fstest.MapFS{"9999_newer.sql": {Data: []byte("-- +goose Up\nCREATE TABLE newer ();\n-- +goose Down\nDROP TABLE newer;\n")}}
	files, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	for _, name := range files {
		content, err := fs.ReadFile(migrations.FS, name)
		require.NoError(t, err)
		newer[name] = &fstest.MapFile{Data: content}
	}
	require.NoError(t, postgres.MigrateFrom(ctx, pool, newer))

	require.NoError(t, postgres.CheckMigrated(ctx, pool))
	require.NoError(t, postgres.Migrate(ctx, pool))
	var version int
	require.NoError(t, pool.QueryRow(ctx, "SELECT max(version_id) FROM goose_db_version WHERE to_regclass('newer') IS NOT NULL").Scan(&version))
	require.Equal(t, 9999, version)
}

func TestMigrateSaysWhatTheRoleLacks(t *testing.T) {
	ctx := context.Background()
	url, pool := empty(t)
	_, err := pool.Exec(ctx, "CREATE ROLE poor LOGIN")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := pool.Exec(ctx, "DROP OWNED BY poor; DROP ROLE poor")
		require.NoError(t, err)
	})
	var schema string
	require.NoError(t, pool.QueryRow(ctx, "SELECT quote_ident(current_schema())").Scan(&schema))
	poor := openPool(t, as(t, url, "poor"))
	require.ErrorContains(t, postgres.Migrate(ctx, poor), `the role "poor" has no schema for the tables: 'runtime-manager provision'`)
	_, err = pool.Exec(ctx, "GRANT USAGE ON SCHEMA "+schema+" TO poor")
	require.NoError(t, err)
	require.ErrorContains(t, postgres.Migrate(ctx, poor), `the role "poor" may not create tables in the schema`)
	require.ErrorContains(t, postgres.CheckMigrated(ctx, poor), "runtime-manager migrate")

	require.NoError(t, postgres.Migrate(ctx, pool))
	_, err = pool.Exec(ctx, "GRANT SELECT ON ALL TABLES IN SCHEMA "+schema+" TO poor")
	require.NoError(t, err)
	require.NoError(t, postgres.Migrate(ctx, poor), "there is nothing to do, which everybody may")
}
