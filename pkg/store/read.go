package store

import (
	"context"
	_ "embed"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// row is an object as it is stored.
type row struct {
	key      string
	revision int64
	data     []byte
}

// errFuture and errCompacted are lists and watches at a revision that is not
// there yet, or not there any more.
var (
	errFuture    = errors.New("the revision is in the future")
	errCompacted = errors.New("the revision was compacted")
)

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

func (s span) holds(key string) bool { return s.from <= key && key < s.to }

const (
	readClock   = "SELECT revision, compacted FROM clock WHERE one_row"
	readObject  = "SELECT c.revision, o.revision, o.data FROM clock c LEFT JOIN objects o ON o.key = $1 WHERE c.one_row"
	readObjects = "SELECT key, revision, data FROM objects WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3"
	measure     = "SELECT count(*), coalesce(sum(octet_length(data)) / nullif(count(*), 0), 0)::bigint FROM objects WHERE key >= $1 AND key < $2"
)

var (
	//go:embed sql/read_objects_at.sql
	readObjectsAt string
	//go:embed sql/count_objects_at.sql
	countObjectsAt string
)

// ask repeats a query while the database is away, for as long as patience lasts.
func (b *Backend) ask(ctx context.Context, doing, what string, query func() error) error {
	began := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := query()
		switch kindOf(err) {
		case done:
			return nil
		case notDone, unknown:
			if ctx.Err() != nil || time.Since(began) > patience {
				return classify(doing, what, err)
			}
		default:
			return classify(doing, what, err)
		}
		select {
		case <-ctx.Done():
			return classify(doing, what, err)
		case <-time.After(pause):
		}
	}
}

// inSnapshot sends queries that must see one state, in one round trip.
func (b *Backend) inSnapshot(ctx context.Context, queue func(*pgx.Batch)) error {
	queries := &pgx.Batch{}
	queries.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	queue(queries)
	queries.Queue("COMMIT")
	return b.pool.SendBatch(ctx, queries).Close()
}

// read returns the object at a key, if any, and the revision it was read at.
func (b *Backend) read(ctx context.Context, key string) (found *row, now int64, err error) {
	var revision *int64
	var data []byte
	err = b.ask(ctx, "reading", key, func() error {
		return b.pool.QueryRow(ctx, readObject, key).Scan(&now, &revision, &data)
	})
	if err != nil || revision == nil {
		return nil, now, err
	}
	return &row{key: key, revision: *revision, data: data}, now, nil
}

// revision is the newest one.
func (b *Backend) revision(ctx context.Context) (now int64, err error) {
	err = b.ask(ctx, "reading", "the clock", func() error {
		return b.pool.QueryRow(ctx, readClock).Scan(&now, nil)
	})
	return now, err
}

// page is a part of a list.
type page struct {
	rows []row
	// revision is the one that the rows are of.
	revision int64
	// more says that there are rows behind the limit.
	more bool
}

// list reads a span at a revision (0 is now), at most limit rows (0 is all).
func (b *Backend) list(ctx context.Context, s span, revision, limit int64) (p page, err error) {
	var unavailable error
	err = b.ask(ctx, "listing", s.from, func() error {
		p, unavailable = page{}, nil
		return b.inSnapshot(ctx, func(queries *pgx.Batch) {
			var now, compacted int64
			queries.Queue(readClock).QueryRow(func(r pgx.Row) error { return r.Scan(&now, &compacted) })
			query, args := readObjects, []any{s.from, s.to, orAll(limit)}
			if revision != 0 {
				query, args = readObjectsAt, append(args, revision)
			}
			queries.Queue(query, args...).Query(func(rows pgx.Rows) error {
				p.revision, unavailable = at(revision, now, compacted)
				return p.fill(rows, limit)
			})
		})
	})
	if err == nil {
		err = unavailable
	}
	return p, err
}

// orAll turns a limit into one row more, to tell whether there are more; no
// limit is NULL.
func orAll(limit int64) *int64 {
	if limit == 0 {
		return nil
	}
	limit++
	return &limit
}

// at is the revision that a list is of, or why it cannot be had.
func at(wanted, now, compacted int64) (int64, error) {
	switch {
	case wanted == 0:
		return now, nil
	case wanted > now:
		return now, errFuture
	case wanted < compacted:
		return now, errCompacted
	}
	return wanted, nil
}

func (p *page) fill(rows pgx.Rows, limit int64) error {
	var found row
	_, err := pgx.ForEachRow(rows, []any{&found.key, &found.revision, &found.data}, func() error {
		if limit > 0 && int64(len(p.rows)) == limit {
			p.more = true
			return nil
		}
		p.rows = append(p.rows, found)
		found.data = nil
		return nil
	})
	return err
}

// count counts the rows of a span at a revision.
func (b *Backend) count(ctx context.Context, s span, revision int64) (n int64, err error) {
	err = b.ask(ctx, "counting", s.from, func() error {
		return b.pool.QueryRow(ctx, countObjectsAt, s.from, s.to, revision).Scan(&n)
	})
	return n, err
}
