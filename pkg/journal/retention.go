package journal

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

var (
	//go:embed sql/old_operations.sql
	oldOperations string
	//go:embed sql/old_snapshots.sql
	oldSnapshots string
	//go:embed sql/delete_snapshots.sql
	deleteSnapshots string
)

const (
	deleteOperations = "DELETE FROM operation_log WHERE id = ANY($1)"
	deleteEvents     = "DELETE FROM health_events WHERE id = ANY(ARRAY(SELECT id FROM health_events WHERE at < $1 ORDER BY at LIMIT $2))"
	deleteOutbox     = "DELETE FROM outbox WHERE id = ANY(ARRAY(SELECT id FROM outbox WHERE created_at < $1 ORDER BY created_at LIMIT $2))"
	// A job that has no result stays.
	deleteJobs      = "DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM jobs WHERE answered_at < $1 AND result IS NOT NULL ORDER BY answered_at LIMIT $2))"
	deletePublished = "DELETE FROM outbox WHERE id = ANY(ARRAY(SELECT id FROM outbox WHERE published_at < $1 ORDER BY published_at LIMIT $2))"
)

const (
	// sweepFirst and sweepEvery are the delays before the first sweep and between
	// sweeps, give or take a fifth.
	sweepFirst = 5 * time.Minute
	sweepEvery = time.Hour
	// sweepBatch is how many rows go in one transaction, sweepPause the least time
	// between two: whoever writes is not held up.
	sweepBatch = 1000
	sweepPause = 20 * time.Millisecond
)

// Retention deletes what is older than history is kept, and messages that were
// published. It leaves alone what a
// manager that starts must know: intents that are open, and for games that have a
// record their last operations and the snapshot.
type Retention struct {
	Pool *pgxpool.Pool
	// Keep is how long history is kept; 0 keeps all of it.
	Keep time.Duration
	// Relayed is how long messages are kept once they were published, in case that
	// is lost: none goes before. At 0 nobody publishes them, and they go by age.
	Relayed time.Duration
	// Gone says that a game has no record any more.
	Gone func(ctx context.Context, game types.NamespacedName) bool
	Log  logr.Logger
	// Clock is for tests.
	Clock clock.Clock
}

// Start sweeps now and then until ctx ends.
func (r Retention) Start(ctx context.Context) error {
	if r.Clock == nil {
		r.Clock = clock.RealClock{}
	}
	failing := false
	for wait := sweepFirst; ; wait = sweepEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-r.Clock.After(wait*4/5 + rand.N(wait*2/5)):
		}
		swept, err := r.sweep(ctx, r.Clock.Now())
		if swept != (sweep{}) {
			r.Log.Info("deleted old history", "olderThan", r.Keep.String(), "operations", swept.operations, "events", swept.events,
				"announcements", swept.announcements, "snapshots", swept.snapshots, "jobs", swept.jobs)
		}
		if err != nil && ctx.Err() == nil && !failing {
			r.Log.Info("old history cannot be deleted", "reason", err.Error())
		}
		failing = err != nil
	}
}

// sweep is how many rows went.
type sweep struct{ operations, events, announcements, snapshots, jobs int64 }

func (r Retention) sweep(ctx context.Context, now time.Time) (s sweep, err error) {
	if s.announcements, err = r.sweepOutbox(ctx, now); err != nil || r.Keep == 0 {
		return s, err
	}
	before := now.Add(-r.Keep)
	r.Gone = askedOnce(r.Gone)
	if s.operations, err = r.sweepOperations(ctx, before); err != nil {
		return s, err
	}
	if s.events, err = r.sweepByAge(ctx, deleteEvents, before); err != nil {
		return s, err
	}
	if s.snapshots, err = r.sweepSnapshots(ctx, before); err != nil {
		return s, err
	}
	s.jobs, err = r.sweepByAge(ctx, deleteJobs, before)
	return s, err
}

func (r Retention) sweepOutbox(ctx context.Context, now time.Time) (deleted int64, err error) {
	switch {
	case r.Relayed > 0:
		return r.sweepByAge(ctx, deletePublished, now.Add(-r.Relayed))
	case r.Keep > 0:
		return r.sweepByAge(ctx, deleteOutbox, now.Add(-r.Keep))
	}
	return 0, nil
}

// askedOnce asks once about each game.
func askedOnce(ask func(context.Context, types.NamespacedName) bool) func(context.Context, types.NamespacedName) bool {
	answers := map[types.NamespacedName]bool{}
	return func(ctx context.Context, game types.NamespacedName) bool {
		if _, asked := answers[game]; !asked {
			answers[game] = ask(ctx, game)
		}
		return answers[game]
	}
}

// sweepByAge deletes what is old, a batch at a time.
func (r Retention) sweepByAge(ctx context.Context, statement string, before time.Time) (deleted int64, err error) {
	for {
		tag, err := r.Pool.Exec(ctx, statement, before, sweepBatch)
		if err != nil {
			return deleted, fmt.Errorf("deleting old history: %w", err)
		}
		if deleted += tag.RowsAffected(); tag.RowsAffected() < sweepBatch {
			return deleted, nil
		}
		r.pause(ctx)
	}
}

// oldOperation is one that may go.
type oldOperation struct {
	At              time.Time
	ID              string
	Namespace, Game string
	Needed          bool
}

func (r Retention) sweepOperations(ctx context.Context, before time.Time) (deleted int64, err error) {
	actions, counts := keptColumns(kept)
	for last := (oldOperation{ID: uuid.Nil.String()}); ; r.pause(ctx) {
		rows, _ := r.Pool.Query(ctx, oldOperations, before, last.At, last.ID, sweepBatch, actions, counts) // the rows tell the error
		old, err := pgx.CollectRows(rows, pgx.RowToStructByPos[oldOperation])
		if err != nil {
			return deleted, fmt.Errorf("reading old operations: %w", err)
		}
		var ids []string
		for _, o := range old {
			if !o.Needed || r.Gone(ctx, types.NamespacedName{Namespace: o.Namespace, Name: o.Game}) {
				ids = append(ids, o.ID)
			}
		}
		tag, err := r.Pool.Exec(ctx, deleteOperations, ids)
		if err != nil {
			return deleted, fmt.Errorf("deleting old operations: %w", err)
		}
		deleted += tag.RowsAffected()
		if len(old) < sweepBatch {
			return deleted, nil
		}
		last = old[len(old)-1]
	}
}

func (r Retention) sweepSnapshots(ctx context.Context, before time.Time) (deleted int64, err error) {
	for last := (types.NamespacedName{}); ; r.pause(ctx) {
		rows, _ := r.Pool.Query(ctx, oldSnapshots, before, last.Namespace, last.Name, sweepBatch) // the rows tell the error
		old, err := pgx.CollectRows(rows, pgx.RowToStructByPos[types.NamespacedName])
		if err != nil {
			return deleted, fmt.Errorf("reading old snapshots: %w", err)
		}
		var namespaces, games []string
		for _, game := range old {
			if r.Gone(ctx, game) {
				namespaces, games = append(namespaces, game.Namespace), append(games, game.Name)
			}
		}
		tag, err := r.Pool.Exec(ctx, deleteSnapshots, before, namespaces, games)
		if err != nil {
			return deleted, fmt.Errorf("deleting old snapshots: %w", err)
		}
		deleted += tag.RowsAffected()
		if len(old) < sweepBatch {
			return deleted, nil
		}
		last = old[len(old)-1]
	}
}

func (r Retention) pause(ctx context.Context) {
	select {
	case <-ctx.Done(): // the next statement says so
	case <-time.After(sweepPause):
	}
}
