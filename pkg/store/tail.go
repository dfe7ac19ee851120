package store

import (
	"context"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// pollInterval is what a lost notification costs.
	pollInterval = time.Second
	// batch is how many changes are read at once.
	batch = 1000
	// remembered and rememberedBytes bound the changes that are kept in memory; a
	// watcher that is further behind reads the table.
	remembered      = 4096
	rememberedBytes = 4 << 20
	// readTimeout bounds one look at the log: a connection that hangs is given up.
	readTimeout = 10 * time.Second
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

func (c change) size() int { return len(c.data) + len(c.previous) }

// tail reads the log's end and holds it for the watchers.
type tail struct {
	backend *Backend
	woken   chan struct{}

	mu sync.Mutex
	// recent holds every change with begin < revision <= last.
	recent    []change
	size      int
	begin     int64
	last      int64
	compacted int64
	// progress counts the progress requests that were answered: each after a
	// look at the log that began later than the request.
	progress  uint64
	requested bool
	// moved is closed, and replaced, whenever any of the above changes.
	moved chan struct{}
	// unseen is the oldest revision of our own that watchers cannot see yet, and when
	// it was committed; 0 if there is none.
	unseen   int64
	unseenAt time.Time
}

func newTail(b *Backend, now, compacted int64) *tail {
	return &tail{backend: b, woken: make(chan struct{}, 1), begin: now, last: now, compacted: compacted, moved: make(chan struct{})}
}

// wake makes the reader look. It never blocks.
func (t *tail) wake() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// committed wakes the reader, too, for what this process wrote.
func (t *tail) committed(revision int64) {
	t.mu.Lock()
	switch {
	case revision == 0: // all of it was outrun
	case revision <= t.last:
		t.backend.metrics.lag.Observe(0)
	case t.unseen == 0:
		t.unseen, t.unseenAt = revision, time.Now()
	}
	t.mu.Unlock()
	t.wake()
}

// hear wakes the reader, unless it has seen already what is notified: our own
// writes, most of the time.
func (t *tail) hear(revision string) {
	if notified, err := strconv.ParseInt(revision, 10, 64); err == nil {
		t.mu.Lock()
		seen := notified <= t.last
		t.mu.Unlock()
		if seen {
			return
		}
	}
	t.wake()
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
				t.backend.log.Info("watches stand still", "reason", err.Error())
			} else {
				t.backend.log.Info("watches go on")
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
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	t.mu.Lock()
	last := t.last
	t.mu.Unlock()
	var now, compacted int64
	var changes []change
	err = t.backend.inSnapshot(ctx, func(queries *pgx.Batch) {
		queries.Queue(readClock).QueryRow(func(r pgx.Row) error { return r.Scan(&now, &compacted) })
		queries.Queue(readChanges, last, batch).Query(collect(&changes))
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
		t.recent, t.size, t.begin = nil, 0, compacted
	}
	if now != t.last || compacted != t.compacted {
		t.keepLocked(changes)
		t.last, t.compacted = now, compacted
		t.moveLocked()
		if t.unseen > 0 && t.unseen <= now {
			t.backend.metrics.lag.Observe(time.Since(t.unseenAt).Seconds())
			t.unseen = 0
		}
	}
	return more, nil
}

const (
	readChanges   = "SELECT revision, key, data, previous_revision, previous FROM changes WHERE revision > $1 ORDER BY revision LIMIT $2"
	readChangesOf = "SELECT revision, key, data, previous_revision, previous FROM changes WHERE revision > $1 AND revision <= $2 AND key >= $3 AND key < $4 ORDER BY revision"
)

func collect(changes *[]change) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var c change
		_, err := pgx.ForEachRow(rows, []any{&c.revision, &c.key, &c.data, &c.previousRevision, &c.previous}, func() error {
			*changes = append(*changes, c)
			c.data, c.previous = nil, nil
			return nil
		})
		return err
	}
}

func (t *tail) keepLocked(changes []change) {
	t.recent = append(t.recent, changes...)
	for _, c := range changes {
		t.size += c.size()
	}
	surplus := 0
	for ; len(t.recent)-surplus > remembered || t.size > rememberedBytes; surplus++ {
		t.size -= t.recent[surplus].size()
	}
	if surplus > 0 {
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

// now is what a watcher sees that wants nothing of the past.
func (t *tail) now() view {
	t.mu.Lock()
	defer t.mu.Unlock()
	return view{upTo: t.last, progress: t.progress, moved: t.moved}
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
			if s.holds(c.key) {
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
	var compacted int64
	err := t.backend.ask(ctx, "reading changes of", strings.TrimSuffix(s.from, "/"), func() error {
		v.changes = nil
		return t.backend.inSnapshot(ctx, func(queries *pgx.Batch) {
			queries.Queue(readClock).QueryRow(func(r pgx.Row) error { return r.Scan(nil, &compacted) })
			queries.Queue(readChangesOf, start, v.upTo, s.from, s.to).Query(collect(&v.changes))
		})
	})
	if err == nil && start < compacted {
		return errCompacted
	}
	return err
}

// compactedTo is the newest revision that was compacted.
func (t *tail) compactedTo() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.compacted
}
