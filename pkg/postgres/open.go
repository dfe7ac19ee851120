// Package postgres knows where PostgreSQL is: a server that somebody else
// runs, or a child process of ours; its pool, its migrations and its
// notifications.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// connectTimeout is how long the first connection may take.
const connectTimeout = 10 * time.Second

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

// Open connects to the server at a postgres:// URL. Its errors are one line
// and hold no password.
func Open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the database URL is not one that PostgreSQL understands: postgres://user:password@host:port/database")
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = maxConnections
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "runtime-manager"
	}
	for name, value := range plans {
		config.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("preparing the pool of connections: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connecting to the database: %s", oneLine(err))
	}
	return pool, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
