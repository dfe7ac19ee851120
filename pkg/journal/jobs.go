package journal

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	//go:embed sql/accept_jobs.sql
	acceptJobs string
	//go:embed sql/claim_jobs.sql
	claimJobs string
	//go:embed sql/settle_jobs.sql
	settleJobs string
	//go:embed sql/answer_jobs.sql
	answerJobs string
	//go:embed sql/reply.sql
	reply string
)

const (
	// A session that says nothing for that long belongs to a host that is gone.
	holdJobs = `SELECT pg_try_advisory_lock(hashtextextended('jobs of ' || current_schema(), 0)),
	                   set_config('idle_session_timeout', '30s', false)`
	letGoOfJobs   = "SELECT set_config('idle_session_timeout', '0', false), pg_advisory_unlock_all()"
	streamOffsets = "SELECT stream, entry, position FROM stream_offsets"
	moveOffset    = `INSERT INTO stream_offsets (stream, entry, position) VALUES ($1, $2, $3)
	                 ON CONFLICT (stream) DO UPDATE SET entry = excluded.entry, position = excluded.position, updated_at = now()`
	acceptedJobs = `SELECT id, stream, entry, verb, game, caller, image, spec, traceparent, accepted, received_at, deadline FROM jobs
	                WHERE result IS NULL AND accepted IS NOT NULL ORDER BY received_at, id`
	openJobs = "SELECT count(*), coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8 FROM jobs WHERE result IS NULL"
)

// Job is what a service asks for on a stream.
type Job struct {
	// ID is the service's, Stream and Entry are where it was read.
	ID     string
	Stream string
	Entry  string
	// Verb, Game, Caller, Image and Spec are the wish; the last two may be empty.
	Verb   string
	Game   string
	Caller string
	Image  string
	Spec   string
	// Traceparent is the span that asked for it; empty where nobody told.
	Traceparent string
	// Accepted is how the wish stands in the game's record; empty while it does not.
	Accepted json.RawMessage
	// ReceivedAt and Deadline are by the database's clock.
	ReceivedAt time.Time
	Deadline   time.Time
}

// Reply is what a service is told, of a job or of an entry that is none.
type Reply struct {
	// ID is a UUID: a reply that is there already is not given again.
	ID string
	// Job is empty for the reply to an entry, that is no job's own.
	Job     string
	Stream  string
	Game    string
	Payload json.RawMessage
}

// Offset is how far a stream was read.
type Offset struct {
	Stream string
	Entry  string
	// Position is how many entries had been added to the stream by then.
	Position int64
}

// Arrival is a job that was read. One that cannot be carried out comes with its
// reply.
type Arrival struct {
	Job
	Reply *Reply
}

// Repeat is an entry that asks for a job that was read from another one before.
type Repeat struct {
	Stream string
	Entry  string
	ID     string
	// Result is that job's; empty while it has none.
	Result json.RawMessage
}

// Jobs are the tables jobs and stream_offsets.
type Jobs struct{ Pool *pgxpool.Pool }

// Reader is who alone reads the streams of jobs, among all managers on a database.
// It holds a connection, and is one for as long as that lives.
type Reader struct{ conn *pgxpool.Conn }

// Hold makes the caller the reader; nil if there is one. Release must follow.
func (j Jobs) Hold(ctx context.Context) (*Reader, error) {
	conn, err := j.Pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to read jobs: %w", err)
	}
	var held bool
	if err := conn.QueryRow(ctx, holdJobs).Scan(&held, nil); err != nil {
		(&Reader{conn}).Release()
		return nil, fmt.Errorf("asking to read jobs: %w", err)
	}
	if !held {
		(&Reader{conn}).Release()
		return nil, nil
	}
	return &Reader{conn}, nil
}

// Release lets another one read.
func (r *Reader) Release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := r.conn.Exec(ctx, letGoOfJobs); err != nil {
		_ = r.conn.Conn().Close(ctx) // with the connection goes the lock
	}
	r.conn.Release()
}

// Alive keeps the reader one: it must be called every few seconds.
func (r *Reader) Alive(ctx context.Context) error {
	if err := r.conn.Ping(ctx); err != nil {
		return fmt.Errorf("holding on to the streams of jobs: %w", err)
	}
	return nil
}

// Offsets returns how far each stream was read, by its name.
func (r *Reader) Offsets(ctx context.Context) (map[string]Offset, error) {
	rows, _ := r.conn.Query(ctx, streamOffsets) // the rows tell the error
	read, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Offset])
	if err != nil {
		return nil, fmt.Errorf("reading the streams' offsets: %w", err)
	}
	offsets := make(map[string]Offset, len(read))
	for _, o := range read {
		offsets[o.Stream] = o
	}
	return offsets, nil
}

// Begin notes that a stream is read from another place on.
func (r *Reader) Begin(ctx context.Context, offset Offset) error {
	if _, err := r.conn.Exec(ctx, moveOffset, offset.Stream, offset.Entry, offset.Position); err != nil {
		return fmt.Errorf("noting where a stream begins: %w", err)
	}
	return nil
}

// Accept makes what was read durable, in one transaction with the offsets that it
// was read up to. A job that is there already from the same entry is passed; from
// another one it is returned.
func (r *Reader) Accept(ctx context.Context, arrivals []Arrival, within time.Duration, offsets []Offset) ([]Repeat, error) {
	queries := &pgx.Batch{}
	var repeats []Repeat
	queries.Queue(acceptJobs, append(arrivalColumns(arrivals), within.Seconds())...).Query(func(rows pgx.Rows) (err error) {
		repeats, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Repeat])
		return err
	})
	for _, o := range offsets {
		queries.Queue(moveOffset, o.Stream, o.Entry, o.Position)
	}
	if err := r.conn.SendBatch(ctx, queries).Close(); err != nil {
		return nil, fmt.Errorf("accepting jobs: %w", err)
	}
	return repeats, nil
}

func arrivalColumns(arrivals []Arrival) []any {
	n := len(arrivals)
	ids, streams, entries, verbs := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	games, callers, images, specs := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	replies, replyStreams, replyGames, payloads := make([]*string, n), make([]string, n), make([]string, n), make([]*string, n)
	parents := make([]string, n)
	for k, a := range arrivals {
		ids[k], streams[k], entries[k], verbs[k] = a.ID, a.Stream, a.Entry, a.Verb
		games[k], callers[k], images[k], specs[k] = storable(a.Game), storable(a.Caller), storable(a.Image), storable(a.Spec)
		parents[k] = a.Traceparent
		if a.Reply != nil {
			payload := storableJSON(a.Reply.Payload)
			replies[k], replyStreams[k], replyGames[k], payloads[k] = &a.Reply.ID, a.Reply.Stream, a.Reply.Game, &payload
		}
	}
	return []any{ids, streams, entries, verbs, games, callers, images, specs, parents, replies, replyStreams, replyGames, payloads}
}

// ClaimedJob is a job in the hands of one manager for a while.
type ClaimedJob struct {
	Job
	// Tries counts this one too.
	Tries int
	// Overdue: its deadline is over.
	Overdue bool
	// Overtaken: a later job of the game stands in the record by now.
	Overtaken bool
}

// Claim takes jobs that are to be written into records, oldest first, at most one of
// each game and limit in all. Nobody else takes them within lease; who takes them
// begins anew, and has settled or given up what it claimed before.
func (j Jobs) Claim(ctx context.Context, by string, lease time.Duration, limit int) ([]ClaimedJob, error) {
	rows, _ := j.Pool.Query(ctx, claimJobs, by, lease.Seconds(), limit) // the rows tell the error
	claims, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c ClaimedJob, err error) {
		err = row.Scan(&c.ID, &c.Stream, &c.Entry, &c.Verb, &c.Game, &c.Caller, &c.Image, &c.Spec, &c.Traceparent, &c.ReceivedAt, &c.Deadline,
			&c.Tries, &c.Overdue, &c.Overtaken)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("claiming jobs: %w", err)
	}
	return claims, nil
}

// Tried is what a try to write a job into its record came to: it is accepted, or
// to be tried again after a delay.
type Tried struct {
	Job      string
	Accepted json.RawMessage
	Delay    time.Duration
}

// Settle writes what came of tries, and gives replies, in one transaction. It
// returns the jobs that were answered by this, and not before.
func (j Jobs) Settle(ctx context.Context, tried []Tried, replies []Reply) (answered []string, err error) {
	queries := &pgx.Batch{}
	if len(tried) > 0 {
		queries.Queue(settleJobs, triedColumns(tried)...)
	}
	if len(replies) > 0 {
		queries.Queue(answerJobs, replyColumns(replies)...).Query(func(rows pgx.Rows) (err error) {
			answered, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	}
	if err := j.Pool.SendBatch(ctx, queries).Close(); err != nil {
		return nil, fmt.Errorf("writing what came of jobs: %w", err)
	}
	return answered, nil
}

func triedColumns(tried []Tried) []any {
	n := len(tried)
	jobs, accepted, delays := make([]string, n), make([]*string, n), make([]float64, n)
	for k, t := range tried {
		jobs[k], delays[k] = t.Job, t.Delay.Seconds()
		if t.Accepted != nil {
			text := string(t.Accepted)
			accepted[k] = &text
		}
	}
	return []any{jobs, accepted, delays}
}

func replyColumns(replies []Reply) []any {
	n := len(replies)
	ids, jobs, streams, games, payloads := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for k, r := range replies {
		ids[k], jobs[k], streams[k], games[k], payloads[k] = r.ID, r.Job, r.Stream, r.Game, storableJSON(r.Payload)
	}
	return []any{ids, jobs, streams, games, payloads}
}

// Reply gives replies to entries that are no jobs of their own.
func (j Jobs) Reply(ctx context.Context, replies []Reply) error {
	if len(replies) == 0 {
		return nil
	}
	if _, err := j.Pool.Exec(ctx, reply, replyColumns(replies)...); err != nil {
		return fmt.Errorf("replying to entries: %w", err)
	}
	return nil
}

// Accepted returns the jobs that stand in their records and have no result.
func (j Jobs) Accepted(ctx context.Context) ([]Job, error) {
	rows, _ := j.Pool.Query(ctx, acceptedJobs) // the rows tell the error
	jobs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Job])
	if err != nil {
		return nil, fmt.Errorf("reading the jobs without a result: %w", err)
	}
	return jobs, nil
}

// Open returns how many jobs have no result, and for how long the oldest has not.
func (j Jobs) Open(ctx context.Context) (open int, oldest time.Duration, err error) {
	var seconds float64
	if err := j.Pool.QueryRow(ctx, openJobs).Scan(&open, &seconds); err != nil {
		return 0, 0, fmt.Errorf("counting jobs: %w", err)
	}
	return open, time.Duration(seconds * float64(time.Second)), nil
}
