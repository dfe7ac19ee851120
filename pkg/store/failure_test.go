package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

const (
	// soon is when a failure, or its end, must have been noticed.
	soon = 30 * time.Second
	// often lies between two looks.
	often = 10 * time.Millisecond
	// hurry lies between two writes of the canary.
	hurry = 20 * time.Millisecond
)

// startTables starts a server of the test's own, with tables.
func startTables(t *testing.T, options postgrestest.ServerOptions) *postgrestest.Server {
	t.Helper()
	server := postgrestest.StartServer(t, options)
	require.NoError(t, postgres.Migrate(t.Context(), openPool(t, server.URL())))
	return server
}

// openSinging is a backend with a canary that hurries.
func openSinging(t *testing.T, url string) *Backend {
	t.Helper()
	b, err := open(context.Background(), Options{Pool: openPool(t, url), Log: logr.Discard()}, hurry)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

// session is one beside the store's own.
func session(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // it may have been ended
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string, arguments ...any) {
	t.Helper()
	_, err := conn.Exec(context.Background(), sql, arguments...)
	require.NoError(t, err)
}

func createPod(s *Store, name string) error {
	pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
	return s.Create(context.Background(), "/pods/default/"+name, pod, nil, 0)
}

func readPod(s *Store, name string) error {
	return s.Get(context.Background(), "/pods/default/"+name, storage.GetOptions{}, &example.Pod{})
}

// changesOf counts the lines of the log about a pod.
func changesOf(t *testing.T, b *Backend, name string) (n int) {
	t.Helper()
	err := b.pool.QueryRow(context.Background(), "SELECT count(*) FROM changes WHERE key = $1", "/pods/default/"+name).Scan(&n)
	require.NoError(t, err)
	return n
}

// awaitHealth waits until the backend says what is wrong; nothing if empty.
func awaitHealth(t *testing.T, b *Backend, wrong string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		if err := b.Healthy(context.Background()); wrong == "" {
			assert.NoError(c, err)
		} else {
			assert.ErrorContains(c, err, wrong)
		}
	}, soon, often)
}

// requireRefused wants a 503 that names the reason.
func requireRefused(t *testing.T, err error, reason string) {
	t.Helper()
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	require.ErrorContains(t, err, reason)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "160m")
	server := startTables(t, postgrestest.ServerOptions{Dir: filepath.Join(disk, "postgres")})
	b := openSinging(t, server.URL())
	s := podStore(b)
	awaitHealth(t, b, "")
	written := []string{"p0"} // the disk may be so full that it takes no other one
	require.NoError(t, createPod(s, written[0]))

	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	var refusal error
	for refusal == nil {
		name := fmt.Sprint("p", len(written))
		if refusal = createPod(s, name); refusal == nil {
			written = append(written, name)
		}
	}
	requireRefused(t, refusal, "its disk is full")
	awaitHealth(t, b, "its disk is full")
	require.NoError(t, readPod(s, written[0]), "reads go on")

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, createPod(s, "after"))
	awaitHealth(t, b, "")
	for _, name := range append(written, "after") {
		require.NoError(t, readPod(s, name))
		require.Equal(t, 1, changesOf(t, b, name))
	}
	require.Zero(t, changesOf(t, b, fmt.Sprint("p", len(written))), "what was refused did not happen")
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // the server's user goes through
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=711,size="+size), "mounting takes root")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	primary := startTables(t, postgrestest.ServerOptions{})
	require.NoError(t, createPod(podStore(openBackend(t, primary.URL())), "before"))
	standby := primary.Standby(t)
	for name, c := range map[string]struct {
		server     *postgrestest.Server
		begin, end string
	}{
		"made-so": {primary, "ALTER SYSTEM SET default_transaction_read_only = on", "ALTER SYSTEM RESET default_transaction_read_only"},
		"standby": {standby, "SELECT", "SELECT pg_promote()"},
	} {
		t.Run(name, func(t *testing.T) {
			admin := session(t, c.server.URL())
			b := openSinging(t, c.server.URL())
			s := podStore(b)
			execute(t, admin, c.begin)
			execute(t, admin, "SELECT pg_reload_conf()")
			awaitHealth(t, b, "it is read-only")
			requireRefused(t, createPod(s, "meanwhile-"+name), "it is read-only")
			require.NoError(t, readPod(s, "before"), "reads go on")

			execute(t, admin, c.end)
			execute(t, admin, "SELECT pg_reload_conf()")
			awaitHealth(t, b, "")
			require.NoError(t, createPod(s, "after-"+name))
			require.Zero(t, changesOf(t, b, "meanwhile-"+name))
		})
	}
}

func TestNoConnectionsLeft(t *testing.T) {
	t.Parallel()
	const connections = 10
	server := startTables(t, postgrestest.ServerOptions{Settings: []string{fmt.Sprint("max_connections=", connections), "superuser_reserved_connections=0"}})
	ours := server.URL() + "&application_name=ours"
	admin := session(t, ours)
	b := openBackend(t, server.URL())
	var others []*pgx.Conn
	for len(others)+1 < connections { // until all are: one that begins is not seen by pg_stat_activity
		other, err := pgx.Connect(context.Background(), ours)
		if err == nil {
			others = append(others, other)
			continue
		}
		require.ErrorContains(t, err, "53300")
		execute(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'ours'")
	}
	awaitHealth(t, b, "too many clients")
	requireRefused(t, createPod(podStore(b), "too-long"), "it has too many connections")

	waiting := make(chan error, 1)
	go func() { waiting <- createPod(podStore(b), "waits") }()
	for _, other := range others {
		require.NoError(t, other.Close(context.Background()))
	}
	require.NoError(t, <-waiting)
	require.Zero(t, changesOf(t, b, "too-long"))
	awaitHealth(t, b, "")
}

// TestClientsRideOver lets clients work through what ends their transactions,
// and does no harm if it is done again.
func TestClientsRideOver(t *testing.T) {
	for name, c := range map[string]struct {
		// isolation of the clients' transactions, if not ours.
		isolation string
		fault     func(*testing.T, *postgrestest.Server)
	}{
		"a restart": {fault: func(t *testing.T, server *postgrestest.Server) {
			server.Stop(t)
			server.Start(t)
		}},
		"sessions that are ended": {fault: func(t *testing.T, server *postgrestest.Server) {
			execute(t, session(t, server.URL()), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'store'")
		}},
		"serialization failures": {isolation: "serializable", fault: func(*testing.T, *postgrestest.Server) {}},
	} {
		t.Run(name, func(t *testing.T) {
			server := startTables(t, postgrestest.ServerOptions{})
			h := begin(t, openPool(t, server.URL()))
			var mu sync.Mutex
			record := func(o operation) {
				mu.Lock()
				defer mu.Unlock()
				if o.Return != 0 {
					h.operations = append(h.operations, o)
				}
			}
			stop := make(chan struct{})
			var running sync.WaitGroup
			for i := range processes {
				s := podStore(openBackendOn(t, openIsolated(t, server.URL()+"&application_name=store", c.isolation)))
				for j := range clientsPerProcess {
					client := newClient(s, fmt.Sprint(i, "-", j), record)
					running.Go(func() { client.run(stop) })
				}
			}
			for range 3 {
				mu.Lock()
				began := len(h.operations)
				mu.Unlock()
				require.Eventually(t, func() bool {
					mu.Lock()
					defer mu.Unlock()
					return len(h.operations) > began+stretch
				}, soon, often)
				c.fault(t, server)
			}
			close(stop)
			running.Wait()
			h.end(t, openPool(t, server.URL()))
			outcomes := h.outcomes()
			t.Log(len(h.log), "changes,", outcomes)
			require.Zero(t, outcomes[unavailable])
			require.NoError(t, h.check())
		})
	}
}

// openIsolated is a pool with another isolation than ours, if any.
func openIsolated(t *testing.T, url, isolation string) *pgxpool.Pool {
	t.Helper()
	config := openPool(t, url).Config()
	if isolation != "" {
		config.ConnConfig.RuntimeParams["default_transaction_isolation"] = isolation
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// TestTransactionThatIsEnded holds one up after it took the clock, and ends it.
func TestTransactionThatIsEnded(t *testing.T) {
	const holdUp = "LOCK TABLE changes IN SHARE MODE"
	for name, c := range map[string]struct {
		// first is what another session does before the write, in a transaction.
		first string
		// setting of the writer's session.
		setting string
		fault   func(t *testing.T, url string, other *pgx.Conn, writer int)
		// refused is why the write is not done after all.
		refused string
	}{
		"its session is ended": {first: holdUp, fault: func(t *testing.T, url string, _ *pgx.Conn, writer int) {
			execute(t, session(t, url), "SELECT pg_terminate_backend($1)", writer)
		}},
		"its statement is canceled": {first: holdUp, refused: "it canceled the statement", fault: func(t *testing.T, url string, _ *pgx.Conn, writer int) {
			execute(t, session(t, url), "SELECT pg_cancel_backend($1)", writer)
		}},
		// Who waits first looks first: after deadlock_timeout, when both wait.
		"it is a deadlock's victim": {first: "SET LOCAL deadlock_timeout = '1h'; " + holdUp, fault: func(t *testing.T, _ string, other *pgx.Conn, _ int) {
			execute(t, other, takeClock)
		}},
		"it may not wait for long": {first: takeClock, setting: "lock_timeout=100ms", fault: func(t *testing.T, url string, _ *pgx.Conn, writer int) {
			conn := session(t, url)
			require.Eventually(t, func() bool {
				return conn.QueryRow(context.Background(), "SELECT pid FROM pg_stat_activity WHERE state = 'idle' AND pid = $1", writer).Scan(nil) == nil
			}, soon, time.Millisecond)
		}},
		"another one that holds the clock is": {first: takeClock, fault: func(t *testing.T, url string, other *pgx.Conn, _ int) {
			execute(t, session(t, url), "SELECT pg_terminate_backend($1)", other.PgConn().PID())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			url := postgrestest.URL(t)
			b := openBackend(t, url+"&pool_max_conns=1&application_name="+t.Name()+"&"+c.setting)
			require.NoError(t, createPod(podStore(b), "prepares-the-statements"))
			other := session(t, url)
			execute(t, other, "BEGIN; "+c.first)
			written := make(chan error, 1)
			go func() { written <- createPod(podStore(b), "p") }()
			c.fault(t, url, other, awaitWaiting(t, url, t.Name()))
			_, _ = other.Exec(context.Background(), "ROLLBACK") // unless it was ended itself
			if c.refused != "" {
				requireRefused(t, <-written, c.refused)
				require.Zero(t, changesOf(t, b, "p"))
				return
			}
			require.NoError(t, <-written)
			require.Equal(t, 1, changesOf(t, b, "p"))
		})
	}
}

// awaitWaiting returns the process of a session that waits for a lock, while it
// or another one holds the clock.
func awaitWaiting(t *testing.T, url, application string) (pid int) {
	t.Helper()
	conn := session(t, url)
	require.Eventually(t, func() bool {
		return conn.QueryRow(context.Background(), "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = $1", application).Scan(&pid) == nil
	}, soon, often)
	_, err := conn.Exec(context.Background(), takeClock+" NOWAIT")
	require.ErrorContains(t, err, "55P03")
	return pid
}

// TestCommitThatFails: that all statements went well is no acknowledgement.
func TestCommitThatFails(t *testing.T) {
	url := postgrestest.URL(t)
	b := openBackend(t, url)
	admin := session(t, url)
	execute(t, admin, "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'full' USING ERRCODE = 'disk_full'; END $$")
	execute(t, admin, "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON changes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()")
	requireRefused(t, createPod(podStore(b), "p"), "its disk is full")
	require.Zero(t, changesOf(t, b, "p"))
	execute(t, admin, "DROP TRIGGER at_commit ON changes")
	require.NoError(t, createPod(podStore(b), "p"))
}

// TestWatchesThatStandStillAreNoticed takes from a role what its reader of the
// log needs, and its writer does not.
func TestWatchesThatStandStillAreNoticed(t *testing.T) {
	t.Parallel()
	server := startTables(t, postgrestest.ServerOptions{})
	admin := session(t, server.URL())
	execute(t, admin, "CREATE ROLE service; GRANT ALL ON ALL TABLES IN SCHEMA public TO service")
	b := openSinging(t, server.URL()+"&role=service")
	awaitHealth(t, b, "")
	require.NoError(t, b.Watching(t.Context()))

	execute(t, admin, "REVOKE SELECT ON changes FROM service")
	require.Eventually(t, func() bool { return b.Watching(context.Background()) != nil }, soon, often)
	require.ErrorContains(t, b.Watching(t.Context()), "watches stand still")
	require.NoError(t, b.Healthy(t.Context()), "writes go on")

	execute(t, admin, "GRANT SELECT ON changes TO service")
	require.Eventually(t, func() bool { return b.Watching(context.Background()) == nil }, soon, often)
}
