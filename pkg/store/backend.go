package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5/pgxpool"

	"galaxy.io/runtime-manager/pkg/postgres"
)

// Options of a Backend.
type Options struct {
	// Pool leads to a database with migrated tables. Its owner closes it, after
	// the Backend.
	Pool *pgxpool.Pool
	Log  logr.Logger
}

// Backend is one database for the objects of all resources: one clock, one log,
// one reader, one writer.
type Backend struct {
	pool    *pgxpool.Pool
	log     logr.Logger
	tail    *tail
	writer  *writer
	canary  *canary
	metrics metrics

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open begins to follow the log.
func Open(ctx context.Context, options Options) (*Backend, error) {
	return open(ctx, options, canaryInterval)
}

func open(ctx context.Context, options Options, beat time.Duration) (*Backend, error) {
	supportProgressRequests()
	b := &Backend{pool: options.Pool, log: options.Log}
	var now, compacted int64
	if err := b.pool.QueryRow(ctx, readClock).Scan(&now, &compacted); err != nil {
		return nil, fmt.Errorf("reading the store's clock: %w", err)
	}
	b.tail = newTail(b, now, compacted)
	b.metrics = newMetrics(b.tail)
	b.writer = newWriter(b.pool, b.log, b.metrics, b.tail.committed)
	b.canary = newCanary(b, beat)
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range []func(context.Context){
		b.writer.run,
		b.tail.run,
		func(ctx context.Context) { postgres.Listen(ctx, b.pool, "changes", b.log, b.tail.hear) },
		b.canary.sing,
		b.canary.listen,
		b.expire,
		b.compactNowAndThen,
	} {
		b.running.Go(func() { run(ctx) })
	}
	return b, nil
}

// Close ends every watch. Writes under way are finished, those that wait are
// refused.
func (b *Backend) Close() {
	b.stop()
	b.running.Wait()
}

// Healthy asks the database, and tells by an error too if it takes no writes.
func (b *Backend) Healthy(ctx context.Context) error {
	if err := b.pool.QueryRow(ctx, readClock).Scan(nil, nil); err != nil {
		return fmt.Errorf("the database does not answer: %w", err)
	}
	return b.canary.writable()
}

// Watching tells by an error if watches stand still while writes go on.
func (b *Backend) Watching(context.Context) error { return b.canary.heard() }

// write commits it together with what else is written at the moment. The
// revision is 0 if another one than the expected one was there.
func (b *Backend) write(ctx context.Context, w write) (revision int64, err error) {
	p, err := b.writer.add(ctx, w)
	if err != nil {
		return 0, err
	}
	return b.writer.wait(ctx, p)
}
