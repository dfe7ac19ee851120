package store

import (
	"context"
	"errors"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// pollInterval is what a lost notification costs.
	pollInterval = time.Second
	// batch is how many changes are read at once.
	batch = 1000
	// remembered is how many changes are kept in memory; a watcher that is
	// further behind reads the table.
	remembered = 4096
)

// change is one line of the log.
type change struct {
	revision int64
	key      string
	// data is the object; nil if it was deleted.
	data []byte
	// previousRevision is 0 if it was created.
	previousRevision int64
	previous         []byte
}

// tail reads the log's end and holds it for the watchers.
type tail struct {
	pool  *pgxpool.Pool
	log   logr.Logger
	woken chan struct{}

	mu sync.Mutex
	// recent holds every change with begin < revision <= last.
	recent    []change
	begin     int64
	last      int64
	compacted int64
	// progress counts the progress requests that were answered: each after a
	// look at the log that began later than the request.
	progress  uint64
	requested bool
	// moved is closed, and replaced, whenever any of the above changes.
	moved chan struct{}
}

func newTail(pool *pgxpool.Pool, log logr.Logger, now, compacted int64) *tail {
	return &tail{
		pool: pool, log: log, woken: make(chan struct{}, 1),
		begin: now, last: now, compacted: compacted, moved: make(chan struct{}),
	}
}

// wake makes the reader look. It never blocks.
func (t *tail) wake() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// requestProgress makes every watcher tell soon how far it is.
func (t *tail) requestProgress() {
	t.mu.Lock()
	t.requested = true
	t.mu.Unlock()
	t.wake()
}

// run follows the log until ctx ends.
func (t *tail) run(ctx context.Context) {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.woken:
		case <-poll.C:
		}
		err := t.catchUp(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failing {
			failing = err != nil
			if failing {
				t.log.Error(err, "watches stand still")
			} else {
				t.log.Info("watches go on")
			}
		}
	}
}

// catchUp reads to the end of the log.
func (t *tail) catchUp(ctx context.Context) error {
	t.mu.Lock()
	requested := t.requested
	t.requested = false
	t.mu.Unlock()
	for more := true; more; {
		var err error
		if more, err = t.advance(ctx); err != nil {
			return err
		}
	}
	if requested {
		t.mu.Lock()
		t.progress++
		t.moveLocked()
		t.mu.Unlock()
	}
	return nil
}

// advance reads one batch. Clock and changes are of one snapshot: when the
// clock says R, every change up to R is there.
func (t *tail) advance(ctx context.Context) (more bool, err error) {
	t.mu.Lock()
	last := t.last
	t.mu.Unlock()
	var now, compacted int64
	var changes []change
	err = pgx.BeginTxFunc(ctx, t.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT revision, compacted FROM clock").Scan(&now, &compacted); err != nil {
			return err
		}
		if now == last {
			return nil
		}
		changes, err = readChanges(ctx, tx, "revision > $1 ORDER BY revision LIMIT $2", last, batch)
		return err
	})
	if err != nil {
		return false, err
	}
	more = len(changes) == batch
	if more {
		now = changes[batch-1].revision
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if compacted > last { // what we had not read yet is gone: whoever needs it starts over
		t.recent, t.begin = nil, compacted
	}
	if now != t.last || compacted != t.compacted {
		t.keepLocked(changes)
		t.last, t.compacted = now, compacted
		t.moveLocked()
	}
	return more, nil
}

func readChanges(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]change, error) {
	rows, err := tx.Query(ctx, "SELECT revision, key, data, previous_revision, previous FROM changes WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (c change, err error) {
		return c, r.Scan(&c.revision, &c.key, &c.data, &c.previousRevision, &c.previous)
	})
}

func (t *tail) keepLocked(changes []change) {
	t.recent = append(t.recent, changes...)
	if surplus := len(t.recent) - remembered; surplus > 0 {
		t.begin = t.recent[surplus-1].revision
		t.recent = append([]change(nil), t.recent[surplus:]...) // lets the old ones go
	}
}

func (t *tail) moveLocked() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// view is what a watcher sees when it looks.
type view struct {
	changes []change
	// upTo is the revision that it has seen everything of.
	upTo     int64
	progress uint64
	// moved is closed when there is more to see.
	moved <-chan struct{}
}

// since returns the changes of a span after a revision.
func (t *tail) since(ctx context.Context, start int64, s span) (view, error) {
	t.mu.Lock()
	v := view{upTo: t.last, progress: t.progress, moved: t.moved}
	if start < t.compacted {
		t.mu.Unlock()
		return v, errCompacted
	}
	if start >= t.begin {
		first := sort.Search(len(t.recent), func(i int) bool { return t.recent[i].revision > start })
		for _, c := range t.recent[first:] {
			if c.key >= s.from && c.key < s.to {
				v.changes = append(v.changes, c)
			}
		}
		t.mu.Unlock()
		return v, nil
	}
	t.mu.Unlock()
	err := t.fromTable(ctx, start, s, &v)
	return v, err
}

// fromTable serves a watcher that is further behind than memory goes.
func (t *tail) fromTable(ctx context.Context, start int64, s span, v *view) error {
	err := pgx.BeginTxFunc(ctx, t.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var compacted int64
		if err := tx.QueryRow(ctx, "SELECT compacted FROM clock").Scan(&compacted); err != nil {
			return err
		}
		if start < compacted {
			return errCompacted
		}
		var err error
		v.changes, err = readChanges(ctx, tx, "revision > $1 AND revision <= $2 AND key >= $3 AND key < $4 ORDER BY revision", start, v.upTo, s.from, s.to)
		return err
	})
	if err != nil && !errors.Is(err, errCompacted) {
		return classify("reading changes of", strings.TrimSuffix(s.from, "/"), err)
	}
	return err
}

// compactedTo is the newest revision that was compacted.
func (t *tail) compactedTo() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.compacted
}

// progressCount is how many progress requests were answered so far.
func (t *tail) progressCount() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.progress
}
