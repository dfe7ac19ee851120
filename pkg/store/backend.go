package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
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
// one reader.
type Backend struct {
	pool *pgxpool.Pool
	log  logr.Logger
	tail *tail

	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open begins to follow the log.
func Open(ctx context.Context, options Options) (*Backend, error) {
	supportProgressRequests()
	b := &Backend{pool: options.Pool, log: options.Log}
	var now, compacted int64
	if err := b.pool.QueryRow(ctx, "SELECT revision, compacted FROM clock").Scan(&now, &compacted); err != nil {
		return nil, fmt.Errorf("reading the store's clock: %w", err)
	}
	b.tail = newTail(b.pool, b.log, now, compacted)
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range []func(context.Context){
		b.tail.run,
		func(ctx context.Context) { postgres.Listen(ctx, b.pool, "changes", b.log, b.tail.wake) },
		b.expire,
		b.compactByAge,
	} {
		b.running.Add(1)
		go func() {
			defer b.running.Done()
			run(ctx)
		}()
	}
	return b, nil
}

// Close ends every watch.
func (b *Backend) Close() {
	b.stop()
	b.running.Wait()
}

// Healthy asks the database.
func (b *Backend) Healthy(ctx context.Context) error {
	if _, err := b.revision(ctx); err != nil {
		return fmt.Errorf("the database does not answer: %w", err)
	}
	return nil
}

// row is an object as it is stored.
type row struct {
	key      string
	revision int64
	data     []byte
}

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

// result is what came of a write.
type result struct {
	written  bool
	revision int64
	// current is what stands in the way of a write that was not done; its
	// revision is 0 if nothing is there.
	current row
}

// write does it in a transaction of its own, or says what stands in the way.
func (b *Backend) write(ctx context.Context, w write) (result, error) {
	r := result{current: row{key: w.key}}
	var revision *int64
	err := b.pool.QueryRow(ctx, "SELECT written, new_revision, current_revision, current_data FROM write_object($1, $2, $3, $4, $5)",
		w.key, w.data, forPeople(w), w.expected, int64(w.ttl)).Scan(&r.written, &revision, &r.current.revision, &r.current.data)
	if err != nil {
		return r, classify("writing", w.key, err)
	}
	if r.written {
		r.revision = *revision
		b.tail.wake()
	}
	return r, nil
}

// forPeople is what the column object shows: the same JSON, unless it is
// sealed, or holds a NUL, which jsonb cannot.
func forPeople(w write) []byte {
	if w.data == nil || w.sealed || bytes.Contains(w.data, []byte(`\u0000`)) {
		return nil
	}
	return w.data
}

// read returns the object at a key, if any, and the revision it was read at.
func (b *Backend) read(ctx context.Context, key string) (found *row, now int64, err error) {
	var revision *int64
	var data []byte
	err = b.pool.QueryRow(ctx, "SELECT c.revision, o.revision, o.data FROM clock c LEFT JOIN objects o ON o.key = $1", key).
		Scan(&now, &revision, &data)
	if err != nil {
		return nil, 0, classify("reading", key, err)
	}
	if revision == nil {
		return nil, now, nil
	}
	return &row{key: key, revision: *revision, data: data}, now, nil
}

// revision is the newest one.
func (b *Backend) revision(ctx context.Context) (now int64, err error) {
	if err := b.pool.QueryRow(ctx, "SELECT revision FROM clock").Scan(&now); err != nil {
		return 0, classify("reading", "the clock", err)
	}
	return now, nil
}

// errFuture and errCompacted are lists and watches at a revision that is not
// there yet, or not there any more.
var (
	errFuture    = errors.New("the revision is in the future")
	errCompacted = errors.New("the revision was compacted")
)

// page is a part of a list.
type page struct {
	rows []row
	// revision is the one that the rows are of.
	revision int64
	// total counts the rows from the page's first key on.
	total int64
}

// span is a range of keys: from is in it, to is not.
type span struct{ from, to string }

// below is the span of all keys with a prefix.
func below(prefix string) span {
	end := []byte(prefix)
	end[len(end)-1]++
	return span{prefix, string(end)}
}

// only is the span of one key.
func only(key string) span { return span{key, after(key)} }

// after is the first key behind one: PostgreSQL's text holds no NUL, so the
// next byte ends it.
func after(key string) string { return key + "\x01" }

// list reads a span at a revision (0 is now), at most limit rows (0 is all),
// from one snapshot.
func (b *Backend) list(ctx context.Context, s span, revision, limit int64) (p page, err error) {
	err = pgx.BeginTxFunc(ctx, b.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var now, compacted int64
		if err := tx.QueryRow(ctx, "SELECT revision, compacted FROM clock").Scan(&now, &compacted); err != nil {
			return err
		}
		p.revision = now
		state, args := "objects WHERE key >= $1 AND key < $2", []any{s.from, s.to}
		if revision != 0 && revision != now {
			if revision > now {
				return errFuture
			}
			if revision < compacted {
				return errCompacted
			}
			p.revision = revision
			state, args = stateAt, append(args, revision)
		}
		return p.fill(ctx, tx, state, args, limit)
	})
	if err != nil && !errors.Is(err, errFuture) && !errors.Is(err, errCompacted) {
		err = classify("listing", s.from, err)
	}
	return p, err
}

// stateAt undoes what changed since a revision.
const stateAt = `(
	SELECT key, revision, data FROM objects WHERE key >= $1 AND key < $2 AND revision <= $3
	UNION ALL
	SELECT key, previous_revision, previous FROM (
		SELECT DISTINCT ON (key) key, previous_revision, previous FROM changes
		WHERE key >= $1 AND key < $2 AND revision > $3 ORDER BY key, revision
	) undone WHERE previous IS NOT NULL
) state`

func (p *page) fill(ctx context.Context, tx pgx.Tx, state string, args []any, limit int64) error {
	query := "SELECT key, revision, data FROM " + state + " ORDER BY key"
	if limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", limit)
	}
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	p.rows, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (found row, err error) {
		return found, r.Scan(&found.key, &found.revision, &found.data)
	})
	p.total = int64(len(p.rows))
	if err != nil || limit == 0 || p.total < limit {
		return err
	}
	return tx.QueryRow(ctx, "SELECT count(*) FROM "+state, args...).Scan(&p.total)
}
