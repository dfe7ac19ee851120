package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"galaxy.io/runtime-manager/migrations"
)

// turnTimeout is how long another process's migrations may take.
const turnTimeout = 10 * time.Minute

// turnRetry is the delay before a process asks again whether it is its turn.
const turnRetry = 100 * time.Millisecond

// Migrate brings the tables up to date. Each migration is one transaction, and
// processes that start together take turns: it can be run again at any time. It
// leaves migrations alone that it does not know, those of a newer version.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return migrate(ctx, pool, migrations.FS)
}

func migrate(ctx context.Context, pool *pgxpool.Pool, files fs.FS) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return fmt.Errorf("preparing the migrations: %w", err)
	}
	// A role that may not create tables, or a server that is read-only, is
	// good enough where there is nothing to do.
	if missing, err := unapplied(ctx, pool, provider); err != nil || len(missing) == 0 {
		return err
	}
	if err := mayCreate(ctx, pool); err != nil {
		return err
	}
	release, err := takeTurn(ctx, pool)
	if err != nil {
		return err
	}
	defer release()
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating the database: %s", oneLine(err))
	}
	return nil
}

// CheckMigrated says what to do where the tables are older than we need.
func CheckMigrated(ctx context.Context, pool *pgxpool.Pool) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS)
	if err != nil {
		return fmt.Errorf("preparing the migrations: %w", err)
	}
	missing, err := unapplied(ctx, pool, provider)
	if err != nil || len(missing) == 0 {
		return err
	}
	return fmt.Errorf("the tables are older than this runtime-manager needs (migration %d is missing): run 'runtime-manager migrate'", missing[0])
}

// unapplied are the numbers of the migrations that the database has not seen.
func unapplied(ctx context.Context, pool *pgxpool.Pool, provider *goose.Provider) ([]int64, error) {
	rows, _ := pool.Query(ctx, "SELECT version_id FROM "+goose.DefaultTablename) // the rows tell the error
	versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == "42P01" { // undefined_table: nothing was ever applied
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the version of the tables: %w", err)
	}
	applied := map[int64]bool{}
	for _, version := range versions {
		applied[version] = true
	}
	var missing []int64
	for _, source := range provider.ListSources() {
		if !applied[source.Version] {
			missing = append(missing, source.Version)
		}
	}
	return missing, nil
}

// takeTurn waits until no other process migrates the same schema. PostgreSQL
// lets go of the lock with the connection, however the process ends. It asks
// again and again: a query that waits would block a CREATE INDEX CONCURRENTLY.
func takeTurn(ctx context.Context, pool *pgxpool.Pool) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig) // not one of the pool, which may have one alone
	if err != nil {
		return nil, fmt.Errorf("connecting to migrate the database: %s", oneLine(err))
	}
	release = func() { _ = conn.Close(context.WithoutCancel(ctx)) } // the lock is gone either way
	retry := time.NewTicker(turnRetry)
	defer retry.Stop()
	for {
		var ours bool
		err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended('runtime-manager migrations ' || coalesce(current_schema(), ''), 0))").Scan(&ours)
		if err == nil && ours {
			return release, nil
		}
		if err == nil {
			select {
			case <-retry.C:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		release()
		return nil, fmt.Errorf("waiting for another process to migrate the database: %s", oneLine(err))
	}
}

// mayCreate says what is missing where nobody has provisioned.
func mayCreate(ctx context.Context, pool *pgxpool.Pool) error {
	var role, schema string
	var may bool
	err := pool.QueryRow(ctx, `SELECT current_user, coalesce(current_schema(), ''),
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)`).Scan(&role, &schema, &may)
	if err != nil {
		return fmt.Errorf("migrating the database: %s", oneLine(err))
	}
	const remedy = "'runtime-manager provision' makes one that it may create them in"
	switch {
	case schema == "":
		return fmt.Errorf("the role %q has no schema for the tables: %s", role, remedy)
	case !may:
		return fmt.Errorf("the role %q may not create tables in the schema %q: %s", role, schema, remedy)
	}
	return nil
}
