package journal

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"galaxy.io/runtime-manager/pkg/health"
)

var (
	//go:embed sql/begin.sql
	beginIntents string
	//go:embed sql/finish.sql
	finishIntents string
	//go:embed sql/load.sql
	loadIntents string
	//go:embed sql/events.sql
	tellEvents string
	//go:embed sql/snapshots.sql
	tellSnapshots string
)

// InPostgres keeps it in the tables operation_log, health_events, health_snapshots
// and outbox. The pool's owner closes it, after the journal.
func InPostgres(pool *pgxpool.Pool) Log { return tables{pool} }

type tables struct{ pool *pgxpool.Pool }

// Lead implements Log.
func (t tables) Lead(ctx context.Context) (term int64, err error) {
	err = t.pool.QueryRow(ctx, "UPDATE lead SET term = term + 1, taken_at = now() RETURNING term").Scan(&term)
	if err != nil {
		return 0, fmt.Errorf("taking the lead: %w", err)
	}
	return term, nil
}

// Write sends both in one transaction and one round trip.
func (t tables) Write(ctx context.Context, term int64, begun []Intent, finished map[string]Result) error {
	queries, leads := &pgx.Batch{}, true
	if len(begun) > 0 {
		queries.Queue(beginIntents, append(intentColumns(begun), term)...).QueryRow(func(row pgx.Row) error { return row.Scan(&leads) })
	}
	if len(finished) > 0 {
		queries.Queue(finishIntents, resultColumns(finished)...)
	}
	// The transaction ends with the pipeline: only when it is closed it is committed.
	if err := t.pool.SendBatch(ctx, queries).Close(); err != nil {
		return fmt.Errorf("writing the operation log: %w", err)
	}
	if !leads {
		return ErrLedSince
	}
	return nil
}

func intentColumns(intents []Intent) []any {
	n := len(intents)
	ids, namespaces, games, uids := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	generations, actions, containers, runs := make([]int64, n), make([]string, n), make([]string, n), make([]*time.Time, n)
	causes, whys, bys := make([]string, n), make([]string, n), make([]string, n)
	ats, deadlines := make([]time.Time, n), make([]time.Time, n)
	for k, i := range intents {
		ids[k], namespaces[k], games[k], uids[k] = i.ID, i.Game.Namespace, i.Game.Name, i.UID
		generations[k], actions[k], containers[k], runs[k] = i.Generation, i.Action, i.Container, unlessZero(i.Run)
		causes[k], whys[k], bys[k], ats[k], deadlines[k] = i.Cause, storable(i.Why), storable(i.By), i.At, i.Deadline
	}
	return []any{ids, namespaces, games, uids, generations, actions, containers, runs, causes, whys, bys, ats, deadlines}
}

func resultColumns(results map[string]Result) []any {
	var ids, outcomes, codes, messages []string
	var times []time.Time
	for id, r := range results {
		ids, outcomes, codes, messages = append(ids, id), append(outcomes, r.Outcome), append(codes, r.Code), append(messages, storable(r.Message))
		times = append(times, r.FinishedAt)
	}
	return []any{ids, outcomes, codes, messages, times}
}

// storable is what PostgreSQL takes as text: an engine's words may be anything,
// and one row that is refused would hold up all others.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}

// storableJSON is what PostgreSQL takes as jsonb, which knows no NUL. An escaped
// backslash before u0000 is no NUL.
func storableJSON(text json.RawMessage) string { return withoutNUL.Replace(string(text)) }

var withoutNUL = strings.NewReplacer(`\\`, `\\`, `\u0000`, `\ufffd`)

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (t tables) Load(ctx context.Context, kept map[string]int) ([]Intent, error) {
	actions, counts := keptColumns(kept)
	rows, _ := t.pool.Query(ctx, loadIntents, actions, counts) // the rows tell the error
	intents, err := pgx.CollectRows(rows, readIntent)
	if err != nil {
		return nil, fmt.Errorf("reading the operation log: %w", err)
	}
	return intents, nil
}

func keptColumns(kept map[string]int) (actions []string, counts []int) {
	for action, count := range kept {
		actions, counts = append(actions, action), append(counts, count)
	}
	return actions, counts
}

func readIntent(row pgx.CollectableRow) (i Intent, err error) {
	var run, finished *time.Time
	err = row.Scan(&i.ID, &i.Game.Namespace, &i.Game.Name, &i.UID, &i.Generation, &i.Action, &i.Container, &run, &i.Cause, &i.Why, &i.By,
		&i.At, &i.Deadline, &i.Outcome, &i.Code, &i.Message, &finished)
	if run != nil {
		i.Run = *run
	}
	if finished != nil {
		i.FinishedAt = *finished
	}
	return i, err
}

// Tell sends all of it in one transaction and one round trip.
func (t tables) Tell(ctx context.Context, tellings []Telling) error {
	queries := &pgx.Batch{}
	if events := eventColumns(tellings); events != nil {
		queries.Queue(tellEvents, events...)
	}
	queries.Queue(tellSnapshots, snapshotColumns(tellings)...)
	if err := t.pool.SendBatch(ctx, queries).Close(); err != nil {
		return fmt.Errorf("writing the health history: %w", err)
	}
	return nil
}

// eventColumns is nil where there is no event.
func eventColumns(tellings []Telling) []any {
	var ids, namespaces, games, uids, kinds, containers, operations, details, payloads []string
	var notificationIDs, notifications []*string // NULL for most
	var ats []time.Time
	for _, t := range tellings {
		for _, e := range t.Events {
			ids, namespaces, games, uids = append(ids, e.ID()), append(namespaces, e.Game().Namespace), append(games, e.Game().Name), append(uids, string(e.UID()))
			kinds, ats, containers, operations = append(kinds, string(e.Type())), append(ats, e.At()), append(containers, e.Container()), append(operations, e.Operation())
			details, payloads = append(details, storableJSON(e.Details())), append(payloads, storableJSON(e.Payload()))
			id, notification := notificationColumns(e)
			notificationIDs, notifications = append(notificationIDs, id), append(notifications, notification)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return []any{ids, namespaces, games, uids, kinds, ats, containers, operations, details, payloads, notificationIDs, notifications}
}

func notificationColumns(e health.Event) (id, payload *string) {
	n, ok := e.Notification()
	if !ok {
		return nil, nil
	}
	return &n.ID, new(storableJSON(n.Payload))
}

func snapshotColumns(tellings []Telling) []any {
	n := len(tellings)
	namespaces, games, uids, ats, snapshots := make([]string, n), make([]string, n), make([]string, n), make([]time.Time, n), make([]string, n)
	for k, t := range tellings {
		s := t.Snapshot
		namespaces[k], games[k], uids[k], ats[k], snapshots[k] = s.Namespace, s.GameID, string(s.UID), s.At, storableJSON(s.JSON())
	}
	return []any{namespaces, games, uids, ats, snapshots}
}

func (t tables) Told(ctx context.Context) ([]health.Snapshot, error) {
	rows, _ := t.pool.Query(ctx, "SELECT snapshot FROM health_snapshots") // the rows tell the error
	snapshots, err := pgx.CollectRows(rows, pgx.RowTo[health.Snapshot])
	if err != nil {
		return nil, fmt.Errorf("reading the games' health: %w", err)
	}
	return snapshots, nil
}
