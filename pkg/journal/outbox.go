package journal

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"galaxy.io/runtime-manager/pkg/postgres"
)

//go:embed sql/waiting.sql
var waitingMessages string

const (
	publishedMessages = "UPDATE outbox o SET published_at = p.at FROM unnest($1::uuid[], $2::timestamptz[]) AS p (id, at) WHERE o.id = p.id"
	reachedStreams    = "SELECT stream, max(published_at) FROM outbox WHERE published_at IS NOT NULL GROUP BY stream"
	recallMessages    = "UPDATE outbox SET published_at = NULL WHERE stream = $1 AND published_at >= $2"
	backlog           = "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 FROM outbox WHERE published_at IS NULL"
)

// Message is what other services are to be told, on a stream.
type Message struct {
	// ID is a UUID, the same each time the message is published.
	ID     string
	Stream string
	// Type says what the payload tells of; empty if it does not say.
	Type string
	// Game is the record's namespace and name, with a slash between; messages of one
	// game are published in order.
	Game    string
	Payload json.RawMessage
	// CreatedAt is when it was written, by the database's clock.
	CreatedAt time.Time
}

// Outbox is the table of that name, as whoever publishes its rows uses it.
type Outbox struct{ Pool *pgxpool.Pool }

// Waiting returns the messages that are not published, oldest first and at most
// limit of each stream.
func (o Outbox) Waiting(ctx context.Context, limit int) ([]Message, error) {
	rows, _ := o.Pool.Query(ctx, waitingMessages, limit) // the rows tell the error
	messages, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Message])
	if err != nil {
		return nil, fmt.Errorf("reading the outbox: %w", err)
	}
	return messages, nil
}

// Publication is one of a message.
type Publication struct {
	// ID is the message's.
	ID string
	// At is the time of its entry, by the clock of the one that keeps the streams.
	At time.Time
}

// Published notes that messages are. It may be repeated.
func (o Outbox) Published(ctx context.Context, publications []Publication) error {
	ids, ats := make([]string, len(publications)), make([]time.Time, len(publications))
	for i, p := range publications {
		ids[i], ats[i] = p.ID, p.At
	}
	if _, err := o.Pool.Exec(ctx, publishedMessages, ids, ats); err != nil {
		return fmt.Errorf("noting what was published: %w", err)
	}
	return nil
}

// Reached returns when the last publication on each stream was, of those that are
// kept.
func (o Outbox) Reached(ctx context.Context) (map[string]time.Time, error) {
	rows, _ := o.Pool.Query(ctx, reachedStreams) // the rows tell the error
	reached, stream, at := map[string]time.Time{}, "", time.Time{}
	_, err := pgx.ForEachRow(rows, []any{&stream, &at}, func() error {
		reached[stream] = at
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what was published: %w", err)
	}
	return reached, nil
}

// Recall makes those messages of a stream wait again that were published at a time
// or after it, and returns how many.
func (o Outbox) Recall(ctx context.Context, stream string, since time.Time) (messages int64, err error) {
	tag, err := o.Pool.Exec(ctx, recallMessages, stream, since)
	if err != nil {
		return 0, fmt.Errorf("recalling what was published: %w", err)
	}
	return tag.RowsAffected(), nil
}

// Backlog returns how many messages wait, and since when the oldest does.
func (o Outbox) Backlog(ctx context.Context) (waiting int, oldest time.Duration, err error) {
	var seconds float64
	if err := o.Pool.QueryRow(ctx, backlog).Scan(&waiting, &seconds); err != nil {
		return 0, 0, fmt.Errorf("counting the outbox: %w", err)
	}
	return waiting, time.Duration(seconds * float64(time.Second)), nil
}

// Listen calls back whenever messages were written, by whichever process, or may
// have been while nobody listened. It returns when ctx ends.
func (o Outbox) Listen(ctx context.Context, log logr.Logger, written func()) {
	postgres.Listen(ctx, o.Pool, "outbox", log, func(string) { written() })
}
