package postgres_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for url, want := range map[string]string{
		"nonsense://": "postgres://",
		"postgres://u:secret@127.0.0.1:9/games?connect_timeout=1": "127.0.0.1:9",
	} {
		_, err := postgres.Open(context.Background(), url)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
		require.NotContains(t, err.Error(), "\n")
	}
}

// refusing stands before a server, and turns the first connections away as one
// does that is not ready.
type refusing struct {
	listener net.Listener
	code     string
	left     atomic.Int64
	seen     atomic.Int64
}

func startRefusing(t *testing.T, code string, times int64, socket string) *refusing {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &refusing{listener: listener, code: code}
	r.left.Store(times)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.seen.Add(1)
			if r.left.Add(-1) >= 0 {
				r.refuse(conn)
				continue
			}
			go forward(conn, socket)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return r
}

func (r *refusing) refuse(conn net.Conn) {
	defer conn.Close()
	backend := pgproto3.NewBackend(conn, conn)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return
	}
	backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: r.code, Message: "not now"})
	_ = backend.Flush() // whoever asked may have gone
}

func forward(conn net.Conn, socket string) {
	defer conn.Close()
	server, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(server, conn) }() // ends with either of them
	_, _ = io.Copy(conn, server)
}

// url is that of the server, by way of us.
func (r *refusing) url() string {
	return "postgres://runtime_manager@" + r.listener.Addr().String() + "/postgres?sslmode=disable&pool_max_conns=1&connect_timeout=5"
}

func TestOpenWaitsForAServerThatStarts(t *testing.T) {
	dir := open(t)
	start(t, dir)
	for _, code := range []string{"57P03", "57P01", "57P02", "53300"} {
		r := startRefusing(t, code, 3, dir+"/.s.PGSQL.5432")
		pool, err := postgres.Open(context.Background(), r.url())
		require.NoError(t, err, code)
		pool.Close()
		require.EqualValues(t, 4, r.seen.Load())
	}
	r := startRefusing(t, "28P01", 1, dir+"/.s.PGSQL.5432")
	_, err := postgres.Open(context.Background(), r.url())
	require.ErrorContains(t, err, "28P01", "a wrong password does not become right")
	require.EqualValues(t, 1, r.seen.Load())
}

func TestOpenSaysThatAPoolerAnswers(t *testing.T) {
	r := startRefusing(t, "08P01", 1, "") // as PgBouncer does
	_, err := postgres.Open(context.Background(), r.url())
	require.ErrorContains(t, err, "a connection pooler answers")
	require.ErrorContains(t, err, "08P01")
	require.EqualValues(t, 1, r.seen.Load())
}

func TestOpenWaitsForAServerThatIsNotThereYet(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	server.Stop(t)
	url := server.URL() // Start writes what URL reads
	opened := make(chan error, 1)
	go func() {
		pool, err := postgres.Open(context.Background(), url)
		if err == nil {
			pool.Close()
		}
		opened <- err
	}()
	server.Start(t)
	require.NoError(t, <-opened)
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := startRefusing(t, "57P03", 1<<30, "")
	opened := make(chan error, 1)
	go func() {
		_, err := postgres.Open(ctx, strings.Replace(r.url(), "connect_timeout=5", "connect_timeout="+strconv.Itoa(3600), 1))
		opened <- err
	}()
	require.Eventually(t, func() bool { return r.seen.Load() > 1 }, patience, time.Millisecond, "one refusal has been heard")
	cancel()
	require.ErrorIs(t, <-opened, context.Canceled)
}

func TestOpenRefusesAServerThatMayLoseWrites(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{Settings: []string{"fsync=off"}})
	_, err := postgres.Open(context.Background(), server.URL())
	require.ErrorContains(t, err, "fsync=off")
	require.NotContains(t, err.Error(), "\n")
}

func TestOurSessionsCommitForGood(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{Settings: []string{"synchronous_commit=off"}})
	require.Equal(t, "on", query(t, server.URL(), "SHOW synchronous_commit"))
	require.Equal(t, "remote_apply", query(t, server.URL()+"&synchronous_commit=remote_apply", "SHOW synchronous_commit"), "more is welcome")
}

func TestOurSessionsQueueUp(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{Settings: []string{"default_transaction_isolation=serializable"}})
	require.Equal(t, "read committed", query(t, server.URL(), "SHOW transaction_isolation"))
}
