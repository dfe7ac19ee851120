package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// compactInterval is how often the log is cut.
	compactInterval = 5 * time.Minute
	// logAge is how long a change is kept: a client that was away for less
	// resumes its watch. The watch cache needs 75 s.
	logAge = 10 * time.Minute
	// expireInterval is how exact a TTL is.
	expireInterval = time.Second
	// expireBatch bounds what one look deletes.
	expireBatch = 500
)

// compactByAge cuts the log behind what is old.
func (b *Backend) compactByAge(ctx context.Context) {
	b.every(ctx, compactInterval, "compacting the change log", func(ctx context.Context) error {
		var old *int64
		err := b.pool.QueryRow(ctx, "SELECT max(revision) FROM changes WHERE at < clock_timestamp() - make_interval(secs => $1)", logAge.Seconds()).Scan(&old)
		if err != nil || old == nil {
			return err
		}
		return b.compact(ctx, *old)
	})
}

// compact forgets how the state came to be at a revision. The mark and the
// deletion are one transaction: whoever reads either sees both.
func (b *Backend) compact(ctx context.Context, revision int64) error {
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE clock SET compacted = greatest(compacted, $1)", revision); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM changes WHERE revision <= $1", revision)
		return err
	})
	if err != nil {
		return fmt.Errorf("cutting the log at revision %d: %w", revision, err)
	}
	b.tail.wake()
	return nil
}

// expire deletes what outlived its TTL, as any writer would, so that watchers
// hear of it.
func (b *Backend) expire(ctx context.Context) {
	b.every(ctx, expireInterval, "expiring objects", func(ctx context.Context) error {
		rows, err := b.pool.Query(ctx, "SELECT key, revision FROM objects WHERE expires_at < clock_timestamp() LIMIT $1", expireBatch)
		if err != nil {
			return err
		}
		expired, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (found row, err error) {
			return found, r.Scan(&found.key, &found.revision)
		})
		if err != nil {
			return err
		}
		for _, e := range expired {
			if _, err := b.write(ctx, write{key: e.key, expected: e.revision}); err != nil {
				return err
			}
		}
		return nil
	})
}

// every does something again and again, and tells when it begins to fail.
func (b *Backend) every(ctx context.Context, interval time.Duration, doing string, do func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := do(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			b.log.Error(err, doing)
		}
		failing = err != nil
	}
}
