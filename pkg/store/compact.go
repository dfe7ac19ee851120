package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// compactInterval is how often the log is cut.
	compactInterval = time.Minute
	// logAge and logLength are how long, and how many, changes are kept: a client
	// that missed less resumes its watch. The watch cache needs 75 s.
	logAge    = 10 * time.Minute
	logLength = 200_000
	// cutBatch is how many changes one statement deletes.
	cutBatch = 5000
	// expireInterval is how exact a TTL is.
	expireInterval = time.Second
	// expireBatch bounds what one look deletes.
	expireBatch = 500
)

const (
	// The last revision that is too old, or that too many follow. It looks from
	// the old end on, where little is left since the last cut.
	findCut = `SELECT greatest(coalesce(
		(SELECT revision - 1 FROM changes WHERE at > clock_timestamp() - make_interval(secs => $1) ORDER BY revision LIMIT 1),
		revision), revision - $2) FROM clock WHERE one_row`
	markCut     = "UPDATE clock SET compacted = $1 WHERE compacted < $1"
	cutChanges  = "DELETE FROM changes WHERE revision IN (SELECT revision FROM changes WHERE revision <= $1 ORDER BY revision LIMIT $2)"
	findExpired = "SELECT key, revision FROM objects WHERE expires_at < clock_timestamp() LIMIT $1"
)

// compactNowAndThen cuts the log behind what is old, and what is too much.
func (b *Backend) compactNowAndThen(ctx context.Context) {
	b.every(ctx, compactInterval, "compacting the change log", func(ctx context.Context) error {
		return b.compactBehind(ctx, logAge, logLength)
	})
}

func (b *Backend) compactBehind(ctx context.Context, age time.Duration, length int64) error {
	var cut int64
	if err := b.pool.QueryRow(ctx, findCut, age.Seconds(), length).Scan(&cut); err != nil {
		return fmt.Errorf("looking for where to cut the log: %w", err)
	}
	return b.compact(ctx, cut)
}

// compact forgets how the state came to be at a revision. The mark comes first:
// whoever misses a change sees why. Writers wait for the mark, and not for the
// deletion.
func (b *Backend) compact(ctx context.Context, revision int64) error {
	if _, err := b.pool.Exec(ctx, markCut, revision); err != nil {
		return fmt.Errorf("cutting the log at revision %d: %w", revision, err)
	}
	b.tail.wake()
	for {
		cut, err := b.pool.Exec(ctx, cutChanges, revision, cutBatch)
		if err != nil {
			return fmt.Errorf("cutting the log at revision %d: %w", revision, err)
		}
		if cut.RowsAffected() < cutBatch {
			return nil
		}
	}
}

// expire deletes what outlived its TTL, as any writer would, so that watchers
// hear of it.
func (b *Backend) expire(ctx context.Context) {
	b.every(ctx, expireInterval, "expiring objects", func(ctx context.Context) error {
		rows, err := b.pool.Query(ctx, findExpired, expireBatch)
		if err != nil {
			return err
		}
		expired, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (w write, err error) {
			return w, r.Scan(&w.key, &w.expected)
		})
		if err != nil {
			return err
		}
		return b.writeAll(ctx, expired)
	})
}

// writeAll does what is not out of date meanwhile.
func (b *Backend) writeAll(ctx context.Context, writes []write) error {
	queued := make([]*pending, 0, len(writes))
	for _, w := range writes {
		p, err := b.writer.add(ctx, w)
		if err != nil {
			return err
		}
		queued = append(queued, p)
	}
	for _, p := range queued {
		if _, err := b.writer.wait(ctx, p); err != nil {
			return err
		}
	}
	return nil
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
