package journal

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/health"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// second is the n-th after noon.
func second(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }

func moment(n int) *metav1.MicroTime { return ptr.To(metav1.NewMicroTime(second(n))) }

// running is a record whose game was started in a second.
func running(game types.NamespacedName, n int) *v1alpha1.GameRuntime {
	return &v1alpha1.GameRuntime{
		ObjectMeta: metav1.ObjectMeta{Namespace: game.Namespace, Name: game.Name, UID: "u-1"},
		Status: v1alpha1.GameRuntimeStatus{
			Phase: v1alpha1.PhaseRunning,
			Container: &v1alpha1.ContainerStatus{
				ID: "c-1", Image: "galaxy/chess:1.0.0", StartedAt: moment(n), StartedBy: fmt.Sprint("o-", n),
			},
		},
	}
}

// crashed adds the end of that run in another.
func crashed(record *v1alpha1.GameRuntime, n int) *v1alpha1.GameRuntime {
	record.Status.Phase = v1alpha1.PhaseStarting
	record.Status.LastTermination = &v1alpha1.Termination{
		Reason: v1alpha1.TerminationCrashed, Message: "exit code 3", ExitCode: 3, ContainerID: "c-1",
		StartedAt: record.Status.Container.StartedAt, FinishedAt: moment(n),
	}
	return record
}

func tell(j *Journal, record *v1alpha1.GameRuntime) {
	j.Tell(health.SnapshotOf(record, noon), health.Of(record))
}

// announced are the ids of what is in a log, in the order in which it was told.
func announced(t testing.TB, rows Log, game types.NamespacedName) []string {
	switch rows := rows.(type) {
	case *Memory:
		var ids []string
		for _, e := range rows.Events(game) {
			ids = append(ids, e.ID())
		}
		return ids
	case *gate:
		return announced(t, rows.Log, game)
	}
	found, err := rows.(tables).pool.Query(ctx, `SELECT o.id::text FROM outbox o JOIN health_events e ON e.id = o.id
		WHERE e.namespace = $1 AND e.game = $2 AND o.game = $1 || '/' || $2 AND o.stream = 'runtime:health_events' AND published_at IS NULL
		ORDER BY seq`, game.Namespace, game.Name)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(found, pgx.RowTo[string])
	require.NoError(t, err)
	return ids
}

func ids(records ...*v1alpha1.GameRuntime) (ids []string) {
	for _, record := range records {
		for _, e := range health.Of(record) {
			ids = append(ids, e.ID())
		}
	}
	return ids
}

func snapshot(t testing.TB, rows Log) health.Snapshot {
	snapshots, err := rows.Told(ctx)
	require.NoError(t, err)
	require.Len(t, snapshots, 1)
	return snapshots[0]
}

func TestEachEventIsToldOnce(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		started, again := running(chess, 1), crashed(running(chess, 1), 2)
		j := open(t, rows)
		tell(j, started)
		tell(j, started)
		tell(j, again)
		j.Close()
		require.Equal(t, ids(again), announced(t, rows, chess), "the start is of both")
		require.True(t, snapshot(t, rows).Equal(health.SnapshotOf(again, noon)), "the last one")

		counted := &gate{Log: rows}
		next := open(t, counted)
		tell(next, again)
		next.Close()
		require.Zero(t, counted.tellings, "a restart has nothing to say")

		restarted := crashed(running(chess, 1), 2)
		restarted.Status.Container.StartedAt, restarted.Status.Container.StartedBy = moment(3), "o-3"
		next = open(t, counted)
		tell(next, restarted)
		next.Close()
		require.Equal(t, 1, counted.tellings)
		require.Equal(t, append(ids(again), ids(running(chess, 3))...), announced(t, rows, chess))

		forgetful := New(rows, logr.Discard()) // one that knows of nothing that was told
		tell(forgetful, again)
		forgetful.Close()
		require.Len(t, announced(t, rows, chess), 3, "what is there is not announced anew")
		require.True(t, snapshot(t, rows).Equal(health.SnapshotOf(again, noon)), "and holds up nothing")
	})
}

func TestWhatIsThereIsNotAnnouncedAnew(t *testing.T) {
	pool := postgrestest.Schema(t)
	rows := InPostgres(pool)
	j := open(t, rows)
	tell(j, running(chess, 1))
	j.Close()
	_, err := pool.Exec(ctx, "DELETE FROM outbox") // it was published
	require.NoError(t, err)
	forgetful := New(rows, logr.Discard())
	tell(forgetful, crashed(running(chess, 1), 2))
	forgetful.Close()
	require.Equal(t, 1, count(t, pool, "outbox WHERE stream = 'runtime:health_events'"), "the end alone")
	require.Equal(t, 1, count(t, pool, "outbox WHERE stream = 'notification:intents'"), "and for people")
	require.Equal(t, 2, count(t, pool, "health_events"))
}

func TestForgottenGameIsToldOfAgain(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		j := open(t, rows)
		tell(j, running(chess, 1))
		j.Forget(chess)
		another := running(chess, 2)
		another.UID = "u-2"
		tell(j, another)
		j.Close()
		require.Equal(t, ids(running(chess, 1), another), announced(t, rows, chess), "what waited is kept")
		require.Equal(t, types.UID("u-2"), snapshot(t, rows).UID)
	})
}

func TestWhatIsToldWaitsForTheDatabase(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		var lines []string
		away := &gate{Log: rows, deaf: true}
		j := New(away, funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{}))
		j.Load(ctx)
		for n := range 3 {
			tell(j, running(chess, n))
		}
		require.Eventually(t, func() bool {
			away.mu.Lock()
			defer away.mu.Unlock()
			return away.tellings > 1
		}, patience, time.Millisecond, "it is tried again")
		require.NoError(t, j.Begin(ctx, intent(chess, v1alpha1.ActionStop, 1)), "no intent waits for what is told")
		tell(j, running(chess, 3))
		away.mu.Lock()
		away.deaf = false
		away.mu.Unlock()
		j.Close()
		require.Equal(t, ids(running(chess, 0), running(chess, 1), running(chess, 2), running(chess, 3)), announced(t, rows, chess))
		require.True(t, snapshot(t, rows).Equal(health.SnapshotOf(running(chess, 3), noon)))
		require.NotEmpty(t, lines)
		require.Contains(t, lines[0], "the health history cannot be written")
		require.LessOrEqual(t, len(lines), 2, "one line a transition: %v", lines)
	})
}

func TestWhatWaitsIsBounded(t *testing.T) {
	rows := &gate{Log: InMemory(), deaf: true}
	j := open(t, rows)
	var newest []string
	for n := range untoldPerGame + 10 {
		tell(j, running(chess, n))
		if n >= 10 {
			newest = append(newest, ids(running(chess, n))...)
		}
	}
	rows.mu.Lock()
	rows.deaf = false
	rows.mu.Unlock()
	j.Close()
	require.Equal(t, newest, announced(t, rows, chess))
}

func TestAnythingCanBeTold(t *testing.T) {
	rows := InPostgres(postgrestest.Schema(t))
	j := open(t, rows)
	record := crashed(running(chess, 1), 2)
	record.Status.LastTermination.Message = "a \x00, a \xff and a \\u0000"
	record.Status.Health = []v1alpha1.ProbeStatus{{Probe: v1alpha1.ProbeLiveness, Verdict: v1alpha1.VerdictFailing, Message: "\x00", FailedAt: moment(1)}}
	tell(j, record)
	j.Close()
	require.Equal(t, ids(record), announced(t, rows, chess))
	var details struct{ Message string }
	var text []byte
	require.NoError(t, rows.(tables).pool.QueryRow(ctx, "SELECT details FROM health_events WHERE type = 'container_exited'").Scan(&text))
	require.NoError(t, json.Unmarshal(text, &details))
	require.Equal(t, "a \ufffd, a \ufffd and a \\u0000", details.Message)
}

func TestManyGamesAreToldOfTogether(t *testing.T) {
	const games = toldTogether + 1
	rows := &gate{Log: InPostgres(postgrestest.Schema(t)), deaf: true}
	j := open(t, rows)
	for n := range games {
		tell(j, running(types.NamespacedName{Namespace: "default", Name: fmt.Sprint("g", n)}, n))
	}
	rows.mu.Lock()
	rows.deaf, rows.tellings = false, 0
	rows.mu.Unlock()
	j.Close()
	require.LessOrEqual(t, rows.tellings, 3, "two parts, and one that failed")
	told, err := rows.Told(ctx)
	require.NoError(t, err)
	require.Len(t, told, games)
}

func TestWhatIsToldSurvivesPostgresThatIsKilled(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	pool, err := postgres.Open(ctx, server.URL())
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, postgres.Migrate(ctx, pool))
	rows := InPostgres(pool)
	j := open(t, rows)
	tell(j, running(chess, 1))
	require.Eventually(t, func() bool { return len(announced(t, rows, chess)) == 1 }, patience, 10*time.Millisecond)
	server.Kill(t)
	tell(j, running(chess, 2))
	tell(j, running(chess, 3))
	server.Start(t)
	want := ids(running(chess, 1), running(chess, 2), running(chess, 3))
	require.Eventually(t, func() bool {
		return pool.Ping(ctx) == nil && len(announced(t, rows, chess)) == len(want)
	}, patience, 10*time.Millisecond)
	j.Close()
	require.Equal(t, want, announced(t, rows, chess))
}

// BenchmarkTell is what a status costs to tell of, in the background, when many
// games have something to tell.
func BenchmarkTell(b *testing.B) {
	rows := InPostgres(postgrestest.Schema(b))
	tellings := make([]Telling, b.N)
	for n := range tellings {
		record := crashed(running(types.NamespacedName{Namespace: "default", Name: fmt.Sprint("g", n)}, n), n+1)
		tellings[n] = Telling{health.SnapshotOf(record, noon), health.Of(record)}
	}
	b.ResetTimer()
	for len(tellings) > 0 {
		part := tellings[:min(len(tellings), toldTogether)]
		require.NoError(b, rows.Tell(ctx, part))
		tellings = tellings[len(part):]
	}
}

// BenchmarkTellNothing is what a status costs that has nothing new.
func BenchmarkTellNothing(b *testing.B) {
	j := open(b, InMemory())
	defer j.Close()
	record := crashed(running(chess, 1), 2)
	snapshot, events := health.SnapshotOf(record, noon), health.Of(record)
	for b.Loop() {
		j.Tell(snapshot, events)
	}
}
