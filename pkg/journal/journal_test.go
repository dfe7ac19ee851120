package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

const patience = 30 * time.Second

var (
	ctx   = context.Background()
	chess = types.NamespacedName{Namespace: "default", Name: "chess"}
	noon  = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
)

// intent is one of the n-th second after noon.
func intent(game types.NamespacedName, action string, n int) Intent {
	at := noon.Add(time.Duration(n) * time.Second)
	return Intent{
		ID: uuid.NewString(), Game: game, UID: "u-1", Generation: 3, Action: action, Container: "c-1", Run: noon.Add(-time.Hour),
		Cause: "StoppedByUs", Why: "the record asks for Stopped", By: "lobby", At: at, Deadline: at.Add(time.Minute),
	}
}

func ended(i Intent, outcome string) Intent {
	i.Outcome, i.Code, i.Message, i.FinishedAt = outcome, "timeout", "no answer", i.At.Add(time.Second)
	return i
}

func finish(j *Journal, i Intent) { j.Finish(i.Game, i.ID, i.Result) }

// open returns a journal that knows what is in the log.
func open(t testing.TB, rows Log) *Journal {
	j := New(rows, logr.Discard())
	j.Load(ctx)
	return j
}

// utc makes times comparable: a database has a zone of its own.
func utc(intents []Intent) []Intent {
	for k := range intents {
		i := &intents[k]
		for _, at := range []*time.Time{&i.Run, &i.At, &i.Deadline, &i.FinishedAt} {
			if !at.IsZero() {
				*at = at.UTC()
			}
		}
	}
	return intents
}

// onEachLog holds both logs to the same behaviour.
func onEachLog(t *testing.T, test func(t *testing.T, rows Log)) {
	t.Run("PostgreSQL", func(t *testing.T) { test(t, InPostgres(postgrestest.Schema(t))) })
	t.Run("memory", func(t *testing.T) { test(t, InMemory()) })
}

func TestWhatACrashLeftIsLoaded(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		crashed := open(t, rows)
		defer crashed.Close()
		stop, create := intent(chess, v1alpha1.ActionStop, 1), intent(chess, v1alpha1.ActionCreate, 2)
		create.Container, create.Run, create.Cause, create.Why, create.By = "", time.Time{}, "", "", ""
		for _, i := range []Intent{stop, create} {
			require.NoError(t, crashed.Begin(ctx, i))
		}
		require.Equal(t, []Intent{stop, create}, crashed.Intents(chess))

		next := New(rows, logr.Discard())
		defer next.Close()
		require.Len(t, next.Load(ctx), 2, "durable before Begin returned")
		require.Equal(t, []Intent{stop, create}, utc(next.Intents(chess)), "to the last field")
	})
}

func TestOutcomesAreWrittenByTheEnd(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		j := open(t, rows)
		stop, create, remove := intent(chess, v1alpha1.ActionStop, 1), intent(chess, v1alpha1.ActionCreate, 2), intent(chess, v1alpha1.ActionRemove, 3)
		for _, i := range []Intent{stop, create, remove} {
			require.NoError(t, j.Begin(ctx, i))
		}
		finish(j, ended(stop, v1alpha1.OperationUnknown))
		finish(j, ended(stop, v1alpha1.OperationSucceeded))
		finish(j, ended(create, v1alpha1.OperationFailed))
		require.Equal(t, []Intent{ended(stop, v1alpha1.OperationSucceeded), remove}, j.Intents(chess), "what explains nothing is forgotten")
		j.Close()
		require.ErrorIs(t, j.Begin(ctx, create), errClosed)

		next := open(t, rows)
		defer next.Close()
		require.Equal(t, []Intent{ended(stop, v1alpha1.OperationSucceeded), remove}, utc(next.Intents(chess)))
	})
}

// A manager that was paused, or cut off, does not know that another one leads.
func TestWhoLedBeforeBeginsNothing(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		before := open(t, rows)
		defer before.Close()
		stop, start := intent(chess, v1alpha1.ActionStop, 1), intent(chess, v1alpha1.ActionStart, 2)
		require.NoError(t, before.Begin(ctx, stop))

		next := open(t, rows)
		require.Len(t, next.Intents(chess), 1)
		finish(before, ended(stop, v1alpha1.OperationSucceeded))
		require.ErrorIs(t, before.Begin(ctx, start), ErrLedSince)
		require.Equal(t, []Intent{ended(stop, v1alpha1.OperationSucceeded)}, before.Intents(chess), "what was not begun is no intent")
		require.NoError(t, next.Begin(ctx, start))
		next.Close()

		last := open(t, rows)
		defer last.Close()
		require.Equal(t, []Intent{ended(stop, v1alpha1.OperationSucceeded), start}, utc(last.Intents(chess)), "outcomes are news all the same")
	})
}

func TestTheLastOfEachGameAreKept(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		j := open(t, rows)
		want := map[types.NamespacedName][]Intent{}
		for g := range 5 {
			game := types.NamespacedName{Namespace: fmt.Sprintf("n%d", g%2), Name: fmt.Sprintf("g%d", g)}
			abandoned := intent(game, v1alpha1.ActionStart, 0)
			require.NoError(t, j.Begin(ctx, abandoned))
			want[game] = append(want[game], abandoned)
			rounds := keptEach + g
			for n := range rounds {
				for k, action := range []string{v1alpha1.ActionStop, v1alpha1.ActionRename, v1alpha1.ActionStart, v1alpha1.ActionRemove} {
					i := intent(game, action, 4*n+k+1)
					require.NoError(t, j.Begin(ctx, i))
					i = ended(i, v1alpha1.OperationSucceeded)
					finish(j, i)
					if n >= rounds-kept[action] {
						want[game] = append(want[game], i)
					}
				}
			}
			require.Equal(t, want[game], j.Intents(game))
		}
		j.Close()
		next := open(t, rows)
		defer next.Close()
		for game, intents := range want {
			require.Equal(t, intents, utc(next.Intents(game)), "%s", game)
		}
		next.Forget(chess)
		require.Empty(t, next.Intents(chess))
	})
}

// gate holds writes up, fails them and counts them.
type gate struct {
	Log
	mu       sync.Mutex
	broken   bool
	deaf     bool // what is told alone fails
	writes   int
	tellings int
	asked    int           // intents that were to be written
	turn     chan struct{} // holds writes up until it is closed
}

func (g *gate) Write(ctx context.Context, term int64, begun []Intent, finished map[string]Result) error {
	g.mu.Lock()
	g.asked += len(begun)
	g.mu.Unlock()
	if g.turn != nil {
		<-g.turn
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes++
	if g.broken {
		return errors.New("the database is away")
	}
	return g.Log.Write(ctx, term, begun, finished)
}

func (g *gate) Tell(ctx context.Context, tellings []Telling) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tellings++
	if g.broken || g.deaf {
		return errors.New("the database is away")
	}
	return g.Log.Tell(ctx, tellings)
}

func (g *gate) Load(ctx context.Context, kept map[string]int) ([]Intent, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken {
		return nil, errors.New("the database is away")
	}
	return g.Log.Load(ctx, kept)
}

func (g *gate) breaks(broken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = broken
}

func TestGamesThatBeginTogetherShareATransaction(t *testing.T) {
	const many = 1000
	rows := &gate{Log: InPostgres(postgrestest.Schema(t)), turn: make(chan struct{})}
	j := open(t, rows)
	defer j.Close()
	var group errgroup.Group
	for n := range many {
		game := types.NamespacedName{Namespace: "default", Name: fmt.Sprint("g", n)}
		group.Go(func() error { return j.Begin(ctx, intent(game, v1alpha1.ActionCreate, n)) })
	}
	together := func() bool { // while one transaction goes on, all others wait for the next
		j.mu.Lock()
		defer j.mu.Unlock()
		rows.mu.Lock()
		defer rows.mu.Unlock()
		return rows.asked+len(j.begun) == many
	}
	gathered := assert.Eventually(t, together, patience, time.Millisecond)
	close(rows.turn)
	require.NoError(t, group.Wait())
	require.True(t, gathered)
	require.LessOrEqual(t, rows.writes, 2)
	left, err := rows.Load(ctx, kept)
	require.NoError(t, err)
	require.Len(t, left, many)
}

func TestAwayDatabase(t *testing.T) {
	var lines []string
	rows := &gate{Log: InMemory()}
	j := New(rows, funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{}))
	j.Load(ctx)
	stop, start := intent(chess, v1alpha1.ActionStop, 1), intent(chess, v1alpha1.ActionStart, 2)
	require.NoError(t, j.Begin(ctx, stop))

	rows.breaks(true)
	finish(j, ended(stop, v1alpha1.OperationSucceeded))
	for range 2 {
		require.ErrorContains(t, j.Begin(ctx, start), "writing the intent to start: the database is away")
	}
	require.Equal(t, []Intent{ended(stop, v1alpha1.OperationSucceeded)}, j.Intents(chess), "what was not begun is no intent")

	rows.breaks(false)
	require.Eventually(t, func() bool {
		left, err := rows.Load(ctx, kept)
		return err == nil && left[0].Outcome == v1alpha1.OperationSucceeded
	}, patience, time.Millisecond, "outcomes wait for the database")
	require.NoError(t, j.Begin(ctx, start))
	j.Close()
	require.Len(t, lines, 2, "one line a transition: %v", lines)
}

func TestLoadWaitsForTheDatabase(t *testing.T) {
	rows := &gate{Log: InMemory()}
	before := open(t, rows)
	require.NoError(t, before.Begin(ctx, intent(chess, v1alpha1.ActionStop, 1)))
	before.Close()

	rows.breaks(true)
	j := New(rows, logr.Discard())
	defer j.Close()
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	require.Empty(t, j.Load(impatient))
	require.Error(t, j.Loaded(impatient))
	left := make(chan []Intent)
	go func() { left <- j.Load(ctx) }()
	rows.breaks(false)
	require.Len(t, <-left, 1)
	require.NoError(t, j.Loaded(ctx))
}

func TestCallerThatGivesUpIsNotHeld(t *testing.T) {
	rows := &gate{Log: InMemory(), turn: make(chan struct{})}
	j := open(t, rows)
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, j.Begin(impatient, intent(chess, v1alpha1.ActionStart, 1)), context.Canceled)
	require.ErrorIs(t, New(rows, logr.Discard()).Loaded(impatient), context.Canceled)
	close(rows.turn)
	j.Close()
}

func TestAnythingCanBeSaid(t *testing.T) {
	rows := InPostgres(postgrestest.Schema(t))
	j := open(t, rows)
	stop := intent(chess, v1alpha1.ActionStop, 1)
	stop.Why = "a \x00 and \xff"
	require.NoError(t, j.Begin(ctx, stop))
	failed := ended(stop, v1alpha1.OperationFailed)
	failed.Message = "\xff\x00"
	finish(j, failed)
	j.Close()
	next := open(t, rows)
	defer next.Close()
	require.Equal(t, v1alpha1.OperationFailed, next.Intents(chess)[0].Outcome)
}

func TestPostgresThatIsKilled(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	pool, err := postgres.Open(ctx, server.URL())
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, postgres.Migrate(ctx, pool))
	j := open(t, InPostgres(pool))
	stop := intent(chess, v1alpha1.ActionStop, 1)
	require.NoError(t, j.Begin(ctx, stop))
	server.Kill(t)
	finish(j, ended(stop, v1alpha1.OperationSucceeded))
	require.Error(t, j.Begin(ctx, intent(chess, v1alpha1.ActionStart, 2)), "nothing may be done")
	server.Start(t)
	require.Eventually(t, func() bool { return j.Begin(ctx, intent(chess, v1alpha1.ActionStart, 3)) == nil }, patience, 10*time.Millisecond)
	j.Close()
	next := open(t, InPostgres(pool))
	defer next.Close()
	require.Equal(t, ended(stop, v1alpha1.OperationSucceeded), utc(next.Intents(chess))[0])
}

// BenchmarkBegin is what an effect pays for its intent, by how many begin at one time.
func BenchmarkBegin(b *testing.B) {
	for _, together := range []int{1, 8, 64, 1000} {
		b.Run(fmt.Sprint(together), func(b *testing.B) {
			rows := &gate{Log: InPostgres(postgrestest.Schema(b))}
			j := open(b, rows)
			defer j.Close()
			var group errgroup.Group
			group.SetLimit(together)
			for n := range b.N {
				i := intent(types.NamespacedName{Namespace: "default", Name: fmt.Sprint(n)}, v1alpha1.ActionCreate, n)
				group.Go(func() error {
					err := j.Begin(ctx, i)
					finish(j, ended(i, v1alpha1.OperationSucceeded))
					return err
				})
			}
			require.NoError(b, group.Wait())
			b.ReportMetric(float64(b.N)/float64(rows.writes), "intents/commit")
		})
	}
}

// BenchmarkLoad is what a manager that starts pays for a long log, and for what was
// told of 10,000 games.
func BenchmarkLoad(b *testing.B) {
	pool := postgrestest.Schema(b)
	longLog(b, pool)
	for b.Loop() {
		j := New(InPostgres(pool), logr.Discard())
		require.NotEmpty(b, j.Load(ctx))
		require.NotEmpty(b, j.told)
		j.Close()
	}
}
