package journal

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	//go:embed sql/begin.sql
	beginIntents string
	//go:embed sql/finish.sql
	finishIntents string
	//go:embed sql/load.sql
	loadIntents string
)

// InPostgres is the table operation_log. The pool's owner closes it, after the
// journal.
func InPostgres(pool *pgxpool.Pool) Log { return table{pool} }

type table struct{ pool *pgxpool.Pool }

// Write sends both in one transaction and one round trip.
func (t table) Write(ctx context.Context, begun []Intent, finished map[string]Result) error {
	queries := &pgx.Batch{}
	if len(begun) > 0 {
		queries.Queue(beginIntents, intentColumns(begun)...)
	}
	if len(finished) > 0 {
		queries.Queue(finishIntents, resultColumns(finished)...)
	}
	// The transaction ends with the pipeline: only when it is closed it is committed.
	if err := t.pool.SendBatch(ctx, queries).Close(); err != nil {
		return fmt.Errorf("writing the operation log: %w", err)
	}
	return nil
}

func intentColumns(intents []Intent) []any {
	n := len(intents)
	ids, namespaces, games, uids := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	generations, actions, containers, runs := make([]int64, n), make([]string, n), make([]string, n), make([]*time.Time, n)
	causes, whys, ats, deadlines := make([]string, n), make([]string, n), make([]time.Time, n), make([]time.Time, n)
	for k, i := range intents {
		ids[k], namespaces[k], games[k], uids[k] = i.ID, i.Game.Namespace, i.Game.Name, i.UID
		generations[k], actions[k], containers[k], runs[k] = i.Generation, i.Action, i.Container, unlessZero(i.Run)
		causes[k], whys[k], ats[k], deadlines[k] = i.Cause, storable(i.Why), i.At, i.Deadline
	}
	return []any{ids, namespaces, games, uids, generations, actions, containers, runs, causes, whys, ats, deadlines}
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

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (t table) Load(ctx context.Context, kept map[string]int) ([]Intent, error) {
	var actions []string
	var counts []int
	for action, count := range kept {
		actions, counts = append(actions, action), append(counts, count)
	}
	rows, _ := t.pool.Query(ctx, loadIntents, actions, counts) // the rows tell the error
	intents, err := pgx.CollectRows(rows, readIntent)
	if err != nil {
		return nil, fmt.Errorf("reading the operation log: %w", err)
	}
	return intents, nil
}

func readIntent(row pgx.CollectableRow) (i Intent, err error) {
	var run, finished *time.Time
	err = row.Scan(&i.ID, &i.Game.Namespace, &i.Game.Name, &i.UID, &i.Generation, &i.Action, &i.Container, &run, &i.Cause, &i.Why,
		&i.At, &i.Deadline, &i.Outcome, &i.Code, &i.Message, &finished)
	if run != nil {
		i.Run = *run
	}
	if finished != nil {
		i.FinishedAt = *finished
	}
	return i, err
}
