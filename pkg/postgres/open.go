// Package postgres knows where PostgreSQL is: a server that somebody else
// runs, or a child process of ours; its pool, its preparation, its migrations
// and its notifications.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout is how long the first connection may take, and each later one,
// unless the URL says connect_timeout.
const connectTimeout = 10 * time.Second

// connectRetry is the delay before a server that is not there yet is asked again.
const connectRetry = 100 * time.Millisecond

// maxConnections of the pool, unless the URL says pool_max_conns. Writes are
// serialised by the clock row, so more would only wait.
const maxConnections = 16

// plans are settings of our sessions. Each of our statements has one good plan,
// by index, whatever the size of the tables. PostgreSQL would plan anew, for the
// lengths of arrays, what takes less time to run; and it would read a table that
// is empty when it plans from end to end, and still do so when it has grown.
var plans = map[string]string{
	"plan_cache_mode":  "force_generic_plan",
	"jit":              "off",
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
}

// isolation prevails over the database's. Transactions that wait for a row are
// to go on from what the one before them committed; stricter ones would fail,
// and start over at the end of the queue.
const isolation = "read committed"

// errNotDurable is a server that acknowledges what it may lose.
var errNotDurable = errors.New("the server runs with fsync=off and may lose acknowledged writes: " +
	"turn it on with ALTER SYSTEM SET fsync = on, and pg_reload_conf()")

// Open connects to the server at a postgres:// URL, and waits for one that is
// still starting. Its errors are one line and hold no password.
func Open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL("database")
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = maxConnections
	}
	prepare(config.ConnConfig)
	for name, value := range plans {
		config.ConnConfig.RuntimeParams[name] = value
	}
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = isolation
	config.AfterConnect = makeDurable
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("preparing the pool of connections: %w", err)
	}
	connecting, cancel := context.WithTimeout(ctx, config.ConnConfig.ConnectTimeout)
	defer cancel()
	if err := await(connecting, pool.Ping); err != nil {
		pool.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connecting to the database: %w", ctx.Err())
		}
		return nil, fmt.Errorf("connecting to the database: %s", oneLine(explain(err)))
	}
	return pool, nil
}

func errURL(of string) error {
	return fmt.Errorf("the %s URL is not one that PostgreSQL understands: postgres://user:password@host:port/database", of)
}

// prepare says what the URL left out.
func prepare(config *pgx.ConnConfig) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "runtime-manager"
	}
}

// makeDurable refuses a session whose commits may be lost. What a session may
// choose, it chooses: off becomes on, and whatever asks for more, such as
// remote_apply, stays. fsync is the server's, so nothing is left but to say no.
func makeDurable(ctx context.Context, conn *pgx.Conn) error {
	if err := checkVersion(conn.PgConn().ParameterStatus("server_version")); err != nil {
		return err
	}
	var fsync, commit string
	err := conn.QueryRow(ctx, "SELECT current_setting('fsync'), current_setting('synchronous_commit')",
		pgx.QueryExecModeSimpleProtocol).Scan(&fsync, &commit)
	if err != nil {
		return err
	}
	if fsync == "off" {
		return errNotDurable
	}
	if commit == "off" {
		_, err = conn.Exec(ctx, "SET synchronous_commit = on")
	}
	return err
}

// await tries until it succeeds, or fails in a way that time does not mend.
func await(ctx context.Context, try func(context.Context) error) error {
	var last error
	for {
		err := try(ctx)
		if last == nil || ctx.Err() == nil { // that time ran out tells less than what it was spent on
			last = err
		}
		if err == nil || ctx.Err() != nil || !startingUp(err) {
			return last
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(connectRetry):
		}
	}
}

// startingUp says that a server may soon answer: it is not there, or says that
// it starts, stops or has no connection to spare.
func startingUp(err error) bool {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		switch refusal.Code {
		case "57P01", "57P02", "57P03", "53300": // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
			return true
		}
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// ClockAhead is how far the server's clock is ahead of ours, give or take half of
// what asking takes.
func ClockAhead(ctx context.Context, pool *pgxpool.Pool) (time.Duration, error) {
	asked := time.Now()
	var theirs time.Time
	if err := pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return 0, fmt.Errorf("reading the database's clock: %w", err)
	}
	return theirs.Sub(asked.Add(time.Since(asked) / 2)), nil
}
