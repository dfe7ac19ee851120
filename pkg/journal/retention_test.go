package journal

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/health"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

var gone = types.NamespacedName{Namespace: "default", Name: "gone"}

func isGone(_ context.Context, game types.NamespacedName) bool { return game == gone }

// evening is when what is from before the afternoon is old.
var (
	afternoon = noon.Add(time.Hour)
	evening   = afternoon.Add(time.Hour)
)

func count(t testing.TB, pool *pgxpool.Pool, of string, args ...any) (n int) {
	require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM "+of, args...).Scan(&n))
	return n
}

// TestOldOperationsGo lives through more of each action than are kept.
func TestOldOperationsGo(t *testing.T) {
	pool := postgrestest.Schema(t)
	rows := InPostgres(pool)
	j := open(t, rows)
	actions := []string{v1alpha1.ActionCreate, v1alpha1.ActionStart, v1alpha1.ActionStop, v1alpha1.ActionRemove}
	for n := range 3 * keptEach {
		for k, action := range actions {
			for _, game := range []types.NamespacedName{chess, gone} {
				i := intent(game, action, 10*n+k)
				require.NoError(t, j.Begin(ctx, i))
				if n > 0 { // the first ones are open to this day
					finish(j, ended(i, v1alpha1.OperationUnknown))
				}
			}
		}
	}
	recent := intent(gone, v1alpha1.ActionStop, int(time.Hour/time.Second))
	require.NoError(t, j.Begin(ctx, recent))
	finish(j, ended(recent, v1alpha1.OperationSucceeded))
	j.Close()
	before := open(t, rows)
	before.Close()

	swept, err := Retention{Pool: pool, Keep: time.Hour, Gone: isGone}.sweep(ctx, evening)
	require.NoError(t, err)
	after := open(t, rows)
	after.Close()
	require.Equal(t, before.Intents(chess), after.Intents(chess), "a manager that starts knows as much as before")
	require.Len(t, after.Intents(chess), len(actions)+3*keptEach)
	require.Equal(t, len(after.Intents(chess)), count(t, pool, "operation_log WHERE game = 'chess'"), "and nothing else is kept")
	left := after.Intents(gone)
	require.Len(t, left, len(actions)+1, "what is open, and what is not old")
	require.Equal(t, recent.ID, left[len(actions)].ID)
	require.Equal(t, len(left), count(t, pool, "operation_log WHERE game = 'gone'"))
	require.Equal(t, sweep{operations: int64(2*4*(3*keptEach-1) - 3*keptEach)}, swept)

	swept, err = Retention{Pool: pool, Keep: time.Hour, Gone: isGone}.sweep(ctx, evening)
	require.NoError(t, err)
	require.Zero(t, swept)
}

func TestOldHealthGoes(t *testing.T) {
	pool := postgrestest.Schema(t)
	rows := InPostgres(pool)
	j := open(t, rows)
	old, departed := running(chess, 1), running(gone, 2)
	recent := running(types.NamespacedName{Namespace: "default", Name: "go"}, int(time.Hour/time.Second))
	tell(j, old)
	tell(j, departed)
	j.Tell(health.SnapshotOf(recent, afternoon), health.Of(recent))
	j.Close()
	_, err := pool.Exec(ctx, "UPDATE outbox SET created_at = $1, published_at = CASE WHEN game = 'default/chess' THEN now() END WHERE game <> 'default/go'", noon)
	require.NoError(t, err)

	swept, err := Retention{Pool: pool, Keep: time.Hour, Gone: isGone}.sweep(ctx, evening)
	require.NoError(t, err)
	require.Equal(t, sweep{events: 2, announcements: 2, snapshots: 1}, swept)
	require.Equal(t, ids(recent), announced(t, rows, types.NamespacedName{Namespace: "default", Name: "go"}))
	require.Equal(t, 2, count(t, pool, "health_snapshots WHERE game IN ('chess', 'go')"), "games with a record, however long ago it changed")

	next := open(t, rows)
	tell(next, old)
	next.Close()
	require.Zero(t, count(t, pool, "outbox WHERE game = 'default/chess'"), "a game that has run for so long did not start anew")
}

// Where somebody publishes messages, none goes that was not published, however old
// it is, and those that were go soon.
func TestPublishedMessagesGo(t *testing.T) {
	for _, keep := range []time.Duration{0, 12 * time.Hour} {
		pool := postgrestest.Schema(t)
		_, err := pool.Exec(ctx, `INSERT INTO outbox (id, stream, game, payload, created_at, published_at)
			SELECT gen_random_uuid(), 's', g, '{}', $1::timestamptz - interval '1 year', p
			FROM (VALUES ('waits', NULL), ('long ago', $1::timestamptz), ('just now', $2)) AS m (g, p)`, noon, evening)
		require.NoError(t, err)
		swept, err := Retention{Pool: pool, Keep: keep, Relayed: time.Hour, Gone: isGone}.sweep(ctx, evening)
		require.NoError(t, err)
		require.Equal(t, sweep{announcements: 1}, swept)
		require.Equal(t, 2, count(t, pool, "outbox WHERE game <> 'long ago'"))
	}
}

func TestOldJobsGo(t *testing.T) {
	pool := postgrestest.Schema(t)
	_, err := pool.Exec(ctx, `INSERT INTO jobs (id, stream, entry, verb, game, caller, image, spec, received_at, deadline, result, answered_at)
		SELECT id, 's', '1-1', 'start', 'chess', 'lobby', '', '', $1, $1, CASE WHEN at IS NOT NULL THEN '{}'::jsonb END, at
		FROM (VALUES ('open', NULL), ('old', $1::timestamptz), ('recent', $2)) AS j (id, at)`, noon, evening)
	require.NoError(t, err)
	swept, err := Retention{Pool: pool, Keep: time.Hour, Gone: isGone}.sweep(ctx, evening)
	require.NoError(t, err)
	require.Equal(t, sweep{jobs: 1}, swept)
	require.Zero(t, count(t, pool, "jobs WHERE id = 'old'"))
}

func TestMoreGoesThanOneBatch(t *testing.T) {
	const games, each = sweepBatch + 1, 3
	pool := postgrestest.Schema(t)
	_, err := pool.Exec(ctx, `INSERT INTO operation_log (id, namespace, game, uid, generation, action, at, deadline, outcome)
		SELECT gen_random_uuid(), 'default', 'g' || n, 'u', 1, 'create', $1, $1, 'Succeeded' FROM generate_series(1, $2) n, generate_series(1, $3)`, noon, games, each)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `INSERT INTO health_events (id, namespace, game, uid, type, at, details)
		SELECT gen_random_uuid(), 'default', 'g' || n, 'u', 'container_started', $1, '{}' FROM generate_series(1, $2) n`, noon, games)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `INSERT INTO health_snapshots (namespace, game, uid, at, snapshot)
		SELECT 'n' || n % 2, 'g' || n, 'u', $1, '{}' FROM generate_series(1, $2) n`, noon, games)
	require.NoError(t, err)
	everything := func(context.Context, types.NamespacedName) bool { return true }
	swept, err := Retention{Pool: pool, Keep: time.Hour, Gone: everything}.sweep(ctx, evening)
	require.NoError(t, err)
	require.Equal(t, sweep{operations: games * each, events: games, snapshots: games}, swept)
}

func TestHistoryIsSweptNowAndThen(t *testing.T) {
	pool := postgrestest.Schema(t)
	j := open(t, InPostgres(pool))
	tell(j, running(chess, 1))
	j.Close()
	var mu sync.Mutex
	var lines []string
	log := funcr.New(func(_, line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}, funcr.Options{})
	clock := testclock.NewFakeClock(second(1).Add(time.Hour))
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- Retention{Pool: pool, Keep: time.Hour, Gone: isGone, Log: log, Clock: clock}.Start(running)
	}()
	pass := func(d time.Duration) {
		require.Eventually(t, clock.HasWaiters, patience, time.Millisecond)
		clock.Step(d)
	}
	pass(sweepFirst / 2)
	require.Equal(t, 1, count(t, pool, "health_events"))
	pass(sweepFirst)
	require.Eventually(t, func() bool { return count(t, pool, "health_events") == 0 }, patience, time.Millisecond)
	pass(sweepEvery * 2)
	require.Eventually(t, clock.HasWaiters, patience, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.Len(t, lines, 1, "a sweep that finds nothing is not worth a line: %v", lines)
	require.Contains(t, lines[0], `"events"=1`)
}

// BenchmarkSweepNothing is what an hour costs where all that is old is needed: the
// last operations of 10,000 games.
func BenchmarkSweepNothing(b *testing.B) {
	pool := postgrestest.Schema(b)
	longLog(b, pool)
	retention := Retention{Pool: pool, Keep: time.Minute, Gone: isGone, Log: logr.Discard()}
	_, err := retention.sweep(ctx, time.Now())
	require.NoError(b, err)
	for b.Loop() {
		swept, err := retention.sweep(ctx, time.Now())
		require.NoError(b, err)
		require.Zero(b, swept)
	}
}

// longLog is that of 10,000 games with 50 operations and a snapshot each.
func longLog(b *testing.B, pool *pgxpool.Pool) {
	const games, operations = 10_000, 50
	_, err := pool.Exec(ctx, `INSERT INTO operation_log (id, namespace, game, uid, generation, action, at, deadline, outcome)
		SELECT gen_random_uuid(), 'default', 'g' || n % $1, 'u', 1, (ARRAY['create', 'start', 'stop', 'start', 'remove'])[1 + n / $1 % 5],
		       now() - make_interval(secs => n), now(), 'Succeeded' FROM generate_series(1, $2::int) n`, games, games*operations)
	require.NoError(b, err)
	tellings := make([]Telling, games)
	for n := range tellings {
		record := crashed(running(types.NamespacedName{Namespace: "default", Name: fmt.Sprint("g", n)}, n), n+1)
		tellings[n] = Telling{health.SnapshotOf(record, noon), health.Of(record)}
	}
	require.NoError(b, InPostgres(pool).Tell(ctx, tellings))
	_, err = pool.Exec(ctx, "ANALYZE", pgx.QueryExecModeSimpleProtocol)
	require.NoError(b, err)
}
