package store

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// maxBatch and maxBatchBytes bound what one transaction writes.
	maxBatch      = 500
	maxBatchBytes = 8 << 20
	// patience is how long a call waits for a database that is not there, before
	// its caller is told.
	patience = 10 * time.Second
	// firstPause and lastPause lie between two attempts.
	firstPause, lastPause = 10 * time.Millisecond, 500 * time.Millisecond
	// commitTimeout bounds one transaction.
	commitTimeout = 30 * time.Second
)

// write is a wish to change one key.
type write struct {
	key string
	// data is the new object; nil deletes.
	data []byte
	// expected is the revision that must be there; 0 for none.
	expected int64
	// ttl is in seconds; 0 is forever.
	ttl uint64
	// sealed says that data is not the JSON that the codec wrote.
	sealed bool
}

// readable says that people can be shown the object as jsonb, which knows no NUL.
func (w write) readable() bool {
	return w.data != nil && !w.sealed && !bytes.Contains(w.data, []byte(`\u0000`))
}

// pending is a write that waits for its transaction.
type pending struct {
	write
	// abandoned is closed when the caller waits no longer.
	abandoned <-chan struct{}
	since     time.Time
	readable  bool
	// rivals expect the same revision of the same key: they lose to this one, or
	// fail with it.
	rivals []*pending

	done chan struct{}
	// revision is the new one; 0 if another than the expected one was there.
	revision int64
	err      error
}

func (p *pending) finish(revision int64, err error) {
	p.revision, p.err = revision, err
	close(p.done)
	for _, rival := range p.rivals {
		rival.finish(0, err)
	}
}

// writer commits writes in groups: those that come in while one transaction is
// under way share the next. Each is judged alone; what one expects in vain, or
// cannot be stored, does not touch the others.
//
// Every transaction takes the clock first, and nothing before: transactions of
// several processes queue up there, so they neither deadlock nor overtake.
type writer struct {
	pool    *pgxpool.Pool
	log     logr.Logger
	metrics metrics
	// committed is told after each commit, and the newest revision that it wrote.
	committed func(revision int64)

	queue chan *pending
	// held are those that another one for the same key goes before.
	held []*pending
	// ended is closed when nothing is written any more.
	ended chan struct{}
}

func newWriter(pool *pgxpool.Pool, log logr.Logger, metrics metrics, committed func(int64)) *writer {
	return &writer{pool: pool, log: log, metrics: metrics, committed: committed, queue: make(chan *pending, maxBatch), ended: make(chan struct{})}
}

// add puts a write in the queue.
func (w *writer) add(ctx context.Context, wish write) (*pending, error) {
	p := &pending{write: wish, abandoned: ctx.Done(), since: time.Now(), readable: wish.readable(), done: make(chan struct{})}
	select {
	case w.queue <- p:
		return p, nil
	case <-w.ended:
		return nil, classify("writing", wish.key, errClosed)
	case <-ctx.Done():
		return nil, classify("writing", wish.key, ctx.Err())
	}
}

// wait returns the new revision, or 0 if another one than the expected was there.
func (w *writer) wait(ctx context.Context, p *pending) (revision int64, err error) {
	select {
	case <-p.done:
		err = p.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-w.ended:
		select {
		case <-p.done:
			err = p.err
		default: // it was in the queue still
			err = errClosed
		}
	}
	if err != nil {
		return 0, classify("writing", p.key, err)
	}
	return p.revision, nil
}

// run works the queue until ctx ends.
func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	for batch := w.next(ctx); len(batch) > 0; batch = w.next(ctx) {
		w.commit(ctx, batch)
	}
}

// next waits for a write, and takes along what waits behind it. It is empty
// when ctx ended.
func (w *writer) next(ctx context.Context) []*pending {
	waiting := w.held
	w.held = nil
	if ctx.Err() != nil {
		return nil
	}
	if len(waiting) == 0 {
		select {
		case p := <-w.queue:
			waiting = append(waiting, p)
		case <-ctx.Done():
			return nil
		}
	}
	for len(waiting) < maxBatch {
		select {
		case p := <-w.queue:
			waiting = append(waiting, p)
			continue
		default:
		}
		break
	}
	return w.group(waiting)
}

// group takes one write a key, and holds the rest back.
func (w *writer) group(waiting []*pending) (batch []*pending) {
	first := make(map[string]*pending, len(waiting))
	size := 0
	for _, p := range waiting {
		other := first[p.key]
		switch {
		case other != nil && other.expected == p.expected:
			other.rivals = append(other.rivals, p)
		case other != nil, size > 0 && size+len(p.data) > maxBatchBytes:
			w.held = append(w.held, p)
		default:
			first[p.key] = p
			size += len(p.data)
			batch = append(batch, p)
		}
	}
	return batch
}

// commit brings a group to its end, whatever it takes.
func (w *writer) commit(ctx context.Context, batch []*pending) {
	pause, failing := firstPause, false
	for {
		began := time.Now()
		revisions, err := w.send(ctx, batch)
		if err != nil {
			w.metrics.failures.Inc()
		}
		switch kindOf(err) {
		case done:
			if failing {
				w.log.Info("writes go on")
			}
			for i, p := range batch {
				p.finish(revisions[i], nil)
			}
			w.metrics.done(batch, time.Since(began))
			w.committed(slices.Max(revisions))
			return
		case faulty:
			w.isolate(ctx, batch, err)
			return
		case notDone:
			if !failing {
				w.log.Info("writes are held up", "reason", err.Error())
			}
			failing = true
		default:
			w.fail(batch, err)
			return
		}
		if batch = w.patient(batch, err); len(batch) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			w.fail(batch, errClosed)
			return
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

func (w *writer) fail(batch []*pending, err error) {
	w.metrics.refused.Add(float64(len(batch)))
	for _, p := range batch {
		p.finish(0, err)
	}
}

// isolate finds the one that PostgreSQL does not take. If it is for what people
// are shown, it is stored without.
func (w *writer) isolate(ctx context.Context, batch []*pending, err error) {
	switch {
	case len(batch) > 1:
		for _, p := range batch {
			w.commit(ctx, []*pending{p})
		}
	case batch[0].readable:
		batch[0].readable = false
		w.commit(ctx, batch)
	default:
		w.fail(batch, err)
	}
}

// patient answers those that waited long enough, and returns the others.
func (w *writer) patient(batch []*pending, err error) (rest []*pending) {
	for _, p := range batch {
		select {
		case <-p.abandoned:
			w.fail([]*pending{p}, err)
			continue
		default:
		}
		if time.Since(p.since) > patience {
			w.fail([]*pending{p}, err)
			continue
		}
		rest = append(rest, p)
	}
	return rest
}

const takeClock = "SELECT FROM clock WHERE one_row FOR NO KEY UPDATE"

//go:embed sql/write.sql
var writeObjects string

// send writes a group in one transaction and one round trip, and returns the new
// revisions, 0 for a write that was not granted. The answer is small on purpose:
// it fits into the socket's buffer, so a process that stands still cannot keep
// the server from the commit, and so keep the clock from everybody.
func (w *writer) send(ctx context.Context, batch []*pending) ([]int64, error) {
	// The end of the store interrupts no commit: its outcome would be unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting a connection: %w", err)
	}
	defer conn.Release()
	queries := &pgx.Batch{}
	queries.Queue(takeClock)
	queries.Queue(writeObjects, arguments(batch)...)
	results := conn.SendBatch(ctx, queries)
	revisions, err := readRevisions(results, len(batch))
	// The transaction ends with the pipeline: only now it is committed.
	if closing := results.Close(); err == nil {
		err = closing
	}
	return revisions, err
}

func arguments(batch []*pending) []any {
	n := len(batch)
	keys, data, readable, expected, ttls := make([]string, n), make([][]byte, n), make([]bool, n), make([]int64, n), make([]int64, n)
	for i, p := range batch {
		keys[i], data[i], readable[i], expected[i], ttls[i] = p.key, p.data, p.readable, p.expected, int64(p.ttl)
	}
	return []any{keys, data, readable, expected, ttls}
}

func readRevisions(results pgx.BatchResults, n int) ([]int64, error) {
	if _, err := results.Exec(); err != nil {
		return nil, fmt.Errorf("taking the clock: %w", err)
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	revisions := make([]int64, n)
	var place, revision int64
	_, err = pgx.ForEachRow(rows, []any{&place, &revision}, func() error {
		revisions[place-1] = revision
		return nil
	})
	return revisions, err
}
