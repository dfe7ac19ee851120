package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// puller is a registry of which a test controls every pull.
type puller struct {
	*pulls
	t     *testing.T
	clock *testclock.FakeClock
	begun chan *call
	woken chan engine.GameID
	told  chan []engine.GameID
	games sync.WaitGroup
	// dies, if it is there, is closed to let pulls end whose context did.
	dies chan struct{}
}

// call is one pull that reached the engine.
type call struct {
	ctx      context.Context
	ref      string
	progress func(engine.PullProgress)
	answer   chan error
}

func newPuller(t *testing.T) *puller {
	p := &puller{
		t: t, clock: testclock.NewFakeClock(time.Now()),
		begun: make(chan *call, 1000), woken: make(chan engine.GameID, 1000), told: make(chan []engine.GameID, 1000),
	}
	p.pulls = newPulls(p.clock, func(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
		c := &call{ctx, ref, progress, make(chan error, 1)}
		p.begun <- c
		select {
		case err := <-c.answer:
			return err
		case <-ctx.Done():
			if p.dies != nil {
				<-p.dies
			}
			return ctx.Err()
		}
	}, func(g engine.GameID) { p.woken <- g }, func(games []engine.GameID, _ engine.PullProgress) { p.told <- games })
	t.Cleanup(func() {
		p.games.Wait()
		p.running.Wait()
		require.Empty(t, p.waits)
		require.Empty(t, p.byRef, "what ended is forgotten")
		require.Empty(t, p.slots)
	})
	return p
}

// game is one that waits for an image.
type game struct {
	id      engine.GameID
	outcome chan error
	leave   context.CancelFunc
}

// waitsFor lets a game wait, and returns once it does.
func (p *puller) waitsFor(name, ref string, fresh bool) *game {
	p.t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	p.t.Cleanup(leave)
	g := &game{engine.GameID{Namespace: "arena", Name: name}, make(chan error, 1), leave}
	p.games.Go(func() { g.outcome <- p.wait(ctx, g.id, ref, fresh) })
	p.eventually(name+" waits", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.waits[g.id] != nil })
	return g
}

func (p *puller) eventually(what string, condition func() bool) {
	p.t.Helper()
	require.Eventually(p.t, condition, patience, time.Millisecond, what)
}

func next[T any](t *testing.T, what string, values <-chan T) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

const chessRef, goRef = "registry.example/chess:1.0.0", "registry.example/go:1.0.0"

var errRefused = &engine.Error{Op: "pull image", Kind: engine.PullFailed, Err: errors.New("the registry refuses access")}

func TestGamesShareOnePull(t *testing.T) {
	for _, outcome := range []error{nil, errRefused} {
		p := newPuller(t)
		var all []*game
		for i := range 50 {
			all = append(all, p.waitsFor(fmt.Sprint(i), chessRef, false))
		}
		other := p.waitsFor("go", goRef, false)
		calls := map[string]*call{}
		for range 2 {
			c := next(t, "a pull", p.begun)
			calls[c.ref] = c
		}
		calls[chessRef].answer <- outcome
		for _, g := range all {
			require.Equal(t, outcome, next(t, "an outcome", g.outcome))
		}
		require.Empty(t, p.begun, "no other pull")
		require.Empty(t, other.outcome)
		calls[goRef].answer <- nil
		require.NoError(t, next(t, "the other", other.outcome))
	}
}

func TestTheLastGameEndsThePull(t *testing.T) {
	p := newPuller(t)
	p.dies = make(chan struct{})
	defer close(p.dies)
	first, second := p.waitsFor("first", chessRef, false), p.waitsFor("second", chessRef, false)
	c := next(t, "a pull", p.begun)
	first.leave()
	require.Error(t, next(t, "the first to leave", first.outcome))
	require.NoError(t, c.ctx.Err(), "the other still waits")
	second.leave()
	require.Error(t, next(t, "the last to leave", second.outcome))
	<-c.ctx.Done()

	third := p.waitsFor("third", chessRef, false)
	next(t, "a pull of its own, at once", p.begun).answer <- nil
	require.NoError(t, next(t, "an outcome", third.outcome))
}

// A game that gives its wait up and begins anew at once counts as one that waits.
func TestAGameComesBack(t *testing.T) {
	p := newPuller(t)
	before := p.waitsFor("chess", chessRef, false)
	c := next(t, "a pull", p.begun)
	again := p.waitsFor("chess", chessRef, false)
	p.eventually("both wait", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.byRef[chessRef].waiting == 2 })
	before.leave()
	require.Error(t, next(t, "the first wait", before.outcome))
	p.mu.Lock()
	require.NotNil(t, p.waits[again.id])
	p.mu.Unlock()
	c.answer <- nil
	require.NoError(t, next(t, "the second wait", again.outcome))
}

func TestFreshMeansBegunSince(t *testing.T) {
	p := newPuller(t)
	old := p.waitsFor("old", chessRef, false)
	c := next(t, "a pull", p.begun)
	one, two := p.waitsFor("one", chessRef, true), p.waitsFor("two", chessRef, true)
	p.eventually("both know that they wait for a turn", func() bool { return p.queued(one.id) && p.queued(two.id) })
	require.False(t, p.queued(old.id))
	require.Empty(t, p.begun)
	c.answer <- nil
	require.NoError(t, next(t, "the old one", old.outcome))
	require.Empty(t, one.outcome, "that pull began too early")
	next(t, "another pull", p.begun).answer <- nil
	require.NoError(t, next(t, "the first", one.outcome))
	require.NoError(t, next(t, "the second", two.outcome))
	require.Empty(t, p.begun, "both by one pull")
}

// tickUntil lets time pass in steps that the pulls see.
func (p *puller) tickUntil(what string, condition func() bool) {
	p.t.Helper()
	p.eventually(what, func() bool {
		if condition() {
			return true
		}
		p.clock.Step(pullTick)
		return false
	})
}

func TestAPullWithoutASignOfLifeIsGivenUp(t *testing.T) {
	p := newPuller(t)
	g := p.waitsFor("chess", chessRef, false)
	c := next(t, "a pull", p.begun)
	var last time.Time
	for begun := p.clock.Now(); p.clock.Since(begun) < 10*pullPatience; p.clock.Step(pullTick) {
		last = p.clock.Now()
		c.progress(engine.PullProgress{Done: 120_000_000, Total: 480_000_000}) // no way further, but alive
	}
	require.Empty(t, g.outcome)
	p.tickUntil("an end", func() bool { return len(g.outcome) > 0 })
	require.GreaterOrEqual(t, p.clock.Since(last), pullPatience)
	err := <-g.outcome
	require.Equal(t, engine.PullFailed, engine.KindOf(err))
	require.ErrorContains(t, err, "no sign of life for 2m0s: pulled 120 of 480 MB")
	require.Error(t, c.ctx.Err(), "the engine is told")
}

func TestAGameWaitsNoLongerThanItMay(t *testing.T) {
	p := newPuller(t)
	ctx, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	err := p.wait(ctx, chess, chessRef, false)
	require.Equal(t, engine.PullFailed, engine.KindOf(err))
	require.ErrorContains(t, err, "it takes too long: pulled nothing yet")
}

func TestARegistryThatHangsLeavesRoom(t *testing.T) {
	p := newPuller(t)
	var hung []*call
	for i := range pullsPerRegistry {
		p.waitsFor(fmt.Sprint(i), fmt.Sprintf("hangs.example/chess:1.0.%d", i), false)
		hung = append(hung, next(t, "a pull", p.begun))
	}
	require.Empty(t, p.woken, "who need not wait is not told of it")
	queued := p.waitsFor("queued", "hangs.example/go:1.0.0", false)
	require.Equal(t, queued.id, next(t, "it to be told", p.woken))
	require.True(t, p.queued(queued.id))

	other := p.waitsFor("other", goRef, false)
	c := next(t, "a pull from another registry", p.begun)
	require.Equal(t, goRef, c.ref)
	c.answer <- nil
	require.NoError(t, next(t, "its outcome", other.outcome))

	hung[0].answer <- errRefused
	c = next(t, "its turn", p.begun)
	require.Equal(t, "hangs.example/go:1.0.0", c.ref)
	require.Equal(t, queued.id, next(t, "it to be told", p.woken))
	require.False(t, p.queued(queued.id))
	for _, call := range append(hung[1:], c) {
		call.answer <- nil
	}
	require.NoError(t, next(t, "its outcome", queued.outcome))
}

func TestWhoWaitsForATurnMayLeave(t *testing.T) {
	p := newPuller(t)
	var hung []*call
	for i := range pullsPerRegistry {
		p.waitsFor(fmt.Sprint(i), fmt.Sprintf("hangs.example/chess:1.0.%d", i), false)
		hung = append(hung, next(t, "a pull", p.begun))
	}
	queued := p.waitsFor("queued", "hangs.example/go:1.0.0", false)
	next(t, "it to be told", p.woken)
	queued.leave()
	require.Error(t, next(t, "it to leave", queued.outcome))
	for _, call := range hung {
		call.answer <- nil
	}
	p.running.Wait()
	require.Empty(t, p.begun, "nobody wants it")
}

// Games that failed together each try again in their own time: the registry is
// not asked by each of them.
func TestAFailedPullIsNotRepeatedAtOnce(t *testing.T) {
	p := newPuller(t)
	g := p.waitsFor("first", chessRef, false)
	next(t, "a pull", p.begun).answer <- errRefused
	require.Error(t, next(t, "its failure", g.outcome))
	one, two := p.waitsFor("one", chessRef, false), p.waitsFor("two", chessRef, true)
	other := p.waitsFor("go", goRef, false)
	next(t, "a pull of another image", p.begun).answer <- nil
	require.NoError(t, next(t, "its outcome", other.outcome))
	p.eventually("a pause", p.clock.HasWaiters)
	require.Empty(t, p.begun)
	p.clock.Step(pullPause)
	next(t, "one pull for both", p.begun).answer <- nil
	require.NoError(t, next(t, "an outcome", one.outcome))
	require.NoError(t, next(t, "an outcome", two.outcome))
	require.Empty(t, p.failed)
	require.Empty(t, p.begun)
}

func TestProgressIsToldToAFew(t *testing.T) {
	p := newPuller(t)
	var all []*game
	for i := range 3 * pullToldTo {
		all = append(all, p.waitsFor(fmt.Sprintf("g%02d", i), chessRef, false))
	}
	c := next(t, "a pull", p.begun)
	c.progress(engine.PullProgress{Done: 10, Total: 100})
	var games []engine.GameID
	p.tickUntil("a word of it", func() bool {
		if len(p.told) == 0 {
			return false
		}
		games = <-p.told
		return true
	})
	require.Len(t, games, pullToldTo)
	require.Equal(t, "g00", games[0].Name, "the same ones each time")
	for done := int64(11); done < 20; done++ {
		c.progress(engine.PullProgress{Done: done, Total: 100})
		p.clock.Step(pullTick)
	}
	c.answer <- nil
	for _, g := range all {
		require.NoError(t, next(t, "an outcome", g.outcome))
	}
	require.Empty(t, p.told, "less than a tenth is not worth a word")
	require.Empty(t, p.woken, "and no game was woken for it")
}

// However long games wait for their image, it costs them no write and the
// registry one pull.
func TestGamesThatWaitForOneImage(t *testing.T) {
	const missing = "galaxy/go:1.0.0"
	w := newWorld(t)
	w.sim.Publish(missing)
	release, progress := make(chan struct{}), make(chan func(engine.PullProgress), 1)
	w.work.pulls.pull = func(ctx context.Context, ref string, told func(engine.PullProgress)) error {
		progress <- told
		<-release
		return w.pull(ctx, ref, told)
	}
	w.declare(func(s *v1alpha1.GameRuntimeSpec) { s.Image = missing })
	var games []client.ObjectKey
	for i := range 20 {
		record := w.read()
		record.Name, record.ResourceVersion, record.UID = fmt.Sprint("go-", i), "", types.UID(fmt.Sprint("u-", i))
		require.NoError(t, w.client.Create(context.Background(), record))
		games = append(games, client.ObjectKeyFromObject(record))
	}
	each := func(check func(*v1alpha1.GameRuntime)) {
		for _, game := range games {
			_, err := w.Reconcile(context.Background(), ctrl.Request{NamespacedName: game})
			require.NoError(t, err)
			record := &v1alpha1.GameRuntime{}
			require.NoError(t, w.client.Get(context.Background(), game, record))
			check(record)
		}
	}
	written := map[string]string{}
	each(func(g *v1alpha1.GameRuntime) {
		require.Equal(t, v1alpha1.PhasePulling, g.Status.Phase)
		require.Equal(t, "pull image "+missing, g.Status.Pending.Message)
		require.NotNil(t, g.Status.Pending.Deadline)
		written[g.Name] = g.ResourceVersion
	})
	tell := <-progress
	for done := range int64(10) {
		tell(engine.PullProgress{Done: done, Total: 10})
		w.clock.Step(pullTick)
	}
	require.Empty(t, w.woken)
	each(func(g *v1alpha1.GameRuntime) { require.Equal(t, written[g.Name], g.ResourceVersion, "written again") })

	close(release)
	for range games {
		next(t, "a game to be woken", w.woken)
	}
	each(func(g *v1alpha1.GameRuntime) {
		require.Equal(t, missing, g.Status.Container.Image)
		require.Contains(t, g.Status.Container.RepoDigest, "galaxy/go@sha256:")
	})
	require.Equal(t, 1, w.sim.Calls("PullImage"))
}

func TestATagThatMovesIsDriftOfItsGames(t *testing.T) {
	w := newWorld(t)
	w.sim.Publish(image)
	w.declare(nil)
	w.settle()
	w.requireReady()
	require.Empty(t, w.read().Status.Drift)
	require.NoError(t, w.pull(context.Background(), image, nil))
	w.settle()
	w.requireReady()
	drift := w.read().Status.Drift
	require.Len(t, drift, 1)
	require.Equal(t, v1alpha1.DriftImageMoved, drift[0].Kind)
}
