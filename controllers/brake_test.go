package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/plan"
)

// fleet is a world of many games, all running.
type fleet struct {
	*world
	games []engine.GameID
}

func newFleet(t *testing.T, games int) *fleet {
	f := &fleet{world: newWorld(t)}
	f.declare(nil)
	pattern := f.read()
	for i := range games {
		record := pattern.DeepCopy()
		record.Name, record.UID, record.ResourceVersion = fmt.Sprint("game-", i), "", ""
		require.NoError(t, f.client.Create(t.Context(), record))
		f.games = append(f.games, plan.GameOf(record))
	}
	require.NoError(t, f.client.Delete(t.Context(), pattern))
	f.stepAll()
	f.requireRunning(f.games...)
	return f
}

// stepAll reconciles every game, and again when its back-off is over.
func (f *fleet) stepAll() {
	f.t.Helper()
	for range 2 {
		for _, game := range f.games {
			_, err := f.Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKey(game)})
			require.NoError(f.t, err)
		}
		f.clock.Step(time.Minute)
	}
}

func (f *fleet) requireRunning(games ...engine.GameID) {
	f.t.Helper()
	for _, game := range games {
		require.Len(f.t, f.sim.Running(game), 1, "%s", game)
	}
}

// requireFrozen says that games wait for the brake, and nothing was made for them.
func (f *fleet) requireFrozen(games ...engine.GameID) {
	f.t.Helper()
	require.Equal(f.t, 1.0, testutil.ToFloat64(f.brake.frozen))
	for _, game := range games {
		var record v1alpha1.GameRuntime
		require.NoError(f.t, f.client.Get(context.Background(), client.ObjectKey(game), &record))
		require.NotNil(f.t, record.Status.Pending, "%s", game)
		require.Equal(f.t, v1alpha1.ReasonMassVanish, record.Status.Pending.Reason, "%s", game)
		require.Contains(f.t, record.Status.Pending.Message, v1alpha1.AnnotationApproveRecreation)
		require.Empty(f.t, f.sim.Running(game))
	}
}

// vanish takes the containers of games away, all at one list.
func (f *fleet) vanish(games ...engine.GameID) {
	f.t.Helper()
	f.sim.LoseEvents(true)
	for _, game := range games {
		f.sim.RemoveByHand(f.sim.Running(game)[0])
	}
	f.list()
	f.sim.LoseEvents(false)
}

// list has the engine listed anew.
func (f *fleet) list() {
	f.t.Helper()
	before := f.mirror.ListedAt()
	f.mirror.Relist()
	require.Eventually(f.t, func() bool { return f.mirror.ListedAt().After(before) }, patience, time.Millisecond)
}

// approve annotates a report, as a person does.
func (f *fleet) approve(value string) {
	f.t.Helper()
	report := &v1alpha1.DriftReport{ObjectMeta: metav1.ObjectMeta{Name: "sim"}}
	require.NoError(f.t, client.IgnoreNotFound(f.client.Delete(context.Background(), report)))
	report = &v1alpha1.DriftReport{ObjectMeta: metav1.ObjectMeta{
		Name: "sim", Annotations: map[string]string{v1alpha1.AnnotationApproveRecreation: value},
	}}
	require.NoError(f.t, f.client.Create(context.Background(), report))
}

func (f *fleet) review() bool { return f.brake.review(context.Background()) }

func TestManyThatVanishAreNotMadeAnewAtOnce(t *testing.T) {
	f := newFleet(t, 10)
	gone, there := f.games[:6], f.games[6:]
	f.vanish(gone...)
	f.stepAll()
	f.requireFrozen(gone...)
	require.Contains(t, f.brake.held.Message, "6 of 10 games")

	t.Run("what did not vanish goes on", func(t *testing.T) {
		f.declare(nil)
		f.settle()
		f.requireReady()
		id := f.sim.Running(there[0])[0]
		f.sim.Kill(id, enginetest.Ending{Code: 1})
		require.Eventually(t, func() bool { return f.mirror.View(there[0]).Containers[0].Exit != nil }, patience, time.Millisecond)
		f.stepAll()
		f.requireRunning(there...)
	})
	t.Run("three lists that agree release it", func(t *testing.T) {
		before := f.mirror.ListedAt()
		require.True(t, f.review(), "no list since: it asks for one")
		require.Eventually(t, func() bool { return f.mirror.ListedAt().After(before) }, patience, time.Millisecond)
		require.True(t, f.review(), "one")
		f.list()
		require.True(t, f.review(), "two that were the same")
		f.list()
		require.False(t, f.review(), "three")
		require.Len(t, f.woken, len(gone), "who waited is woken")
		f.stepAll()
		f.requireRunning(f.games...)
		require.Zero(t, testutil.ToFloat64(f.brake.frozen))
	})
	t.Run("and it is ready for the next time", func(t *testing.T) {
		f.vanish(gone...)
		f.stepAll()
		f.requireFrozen(gone...)
	})
}

func TestListsThatDisagreeDoNotReleaseTheBrake(t *testing.T) {
	f := newFleet(t, 10)
	f.vanish(f.games[:5]...)
	f.stepAll()
	for _, game := range f.games[5:9] {
		f.list()
		require.True(t, f.review(), "two were the same")
		f.vanish(game)
		require.True(t, f.review(), "this one was not")
	}
	f.list()
	require.True(t, f.review())
	f.list()
	require.False(t, f.review(), "three were the same")
}

func TestListsTooCloseTogetherDoNotCount(t *testing.T) {
	f := newFleet(t, 10)
	f.brake.spacing = time.Hour
	f.vanish(f.games[:5]...)
	f.stepAll()
	for range 2 * brakeLists {
		f.list()
		require.True(t, f.review())
	}
	require.Equal(t, 1, f.brake.agreed)
}

func TestFewThatVanishAreMadeAnew(t *testing.T) {
	for _, c := range []struct {
		name        string
		games, gone int
	}{
		{"a large share of a few", 5, 3},
		{"many, but a small share", 30, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFleet(t, c.games)
			f.vanish(f.games[:c.gone]...)
			f.stepAll()
			f.requireRunning(f.games...)
			require.Zero(t, testutil.ToFloat64(f.brake.frozen))
		})
	}
}

func TestThoseWhoVanishOneByOneAreCountedTogether(t *testing.T) {
	f := newFleet(t, 10)
	clock := testclock.NewFakeClock(time.Now())
	f.brake.clock = clock
	for i, game := range f.games[:4] {
		if i == 1 {
			clock.Step(vanishWindow + time.Second) // the first was long ago
		}
		f.vanish(game)
		f.stepAll()
		f.requireRunning(game)
	}
	f.vanish(f.games[4])
	f.stepAll()
	f.requireFrozen(f.games[4])
	f.requireRunning(f.games[:4]...)
}

func TestWhatVanishedWhileTheManagerWasDownIsCounted(t *testing.T) {
	f := newFleet(t, 10)
	gone := f.games[:6]
	f.vanish(gone...)
	for range 2 { // two starts, and the second finds what the first left waiting
		f.brake = newBrake(f.brake.brakeOptions)
		f.brake.mirror = f.mirror
		f.stepAll()
		f.requireFrozen(gone...)
	}
}

// After an absence the events that are replayed may be faster than the list.
func TestNothingIsBelievedBeforeTheListAfterAnAbsence(t *testing.T) {
	f := newFleet(t, 10)
	mend := f.sim.Inject(enginetest.Fault{Verb: "List", Kind: engine.Failed})
	f.sim.CutStreams()
	require.Eventually(t, func() bool { return !f.mirror.Fleet().Reachable }, patience, time.Millisecond)
	f.sim.LoseEvents(true)
	for i, game := range f.games[:6] {
		id := f.sim.Running(game)[0]
		f.sim.RemoveByHand(id)
		if i == 0 {
			require.NoError(t, f.mirror.Refresh(t.Context(), id))
		}
	}
	f.stepAll()
	mend()
	require.Eventually(t, func() bool { return f.mirror.Fleet().Reachable }, patience, time.Millisecond)
	f.stepAll()
	f.requireFrozen(f.games[:6]...)
}

func TestOurOwnRemovalsDoNotCount(t *testing.T) {
	f := newFleet(t, 10)
	for _, game := range f.games[:6] {
		f.brake.explain(game, f.sim.Running(game)[0])
	}
	f.vanish(f.games[:6]...)
	f.stepAll()
	f.requireRunning(f.games...)
}

func TestAnotherEngineNeedsApproval(t *testing.T) {
	f := newFleet(t, 2)
	restore := f.sim.Replace("another")
	require.Eventually(t, func() bool { return len(f.mirror.Games()) == 0 }, patience, time.Millisecond)
	f.stepAll()
	f.requireFrozen(f.games...)
	for range 2 * brakeLists {
		f.list()
		require.True(t, f.review(), "that its lists agree proves nothing")
	}

	t.Run("approved", func(t *testing.T) {
		since := f.brake.held.Since
		f.approve(since.Add(-time.Minute).Format(time.RFC3339))
		require.True(t, f.review(), "that was another freeze")
		f.approve(since.Format(time.RFC3339))
		require.False(t, f.review())
		f.stepAll()
		f.requireRunning(f.games...)
	})
	t.Run("the old one again", func(t *testing.T) {
		restore()
		require.Eventually(t, func() bool { return f.mirror.Fleet().Info.ID == "sim" }, patience, time.Millisecond)
		require.Eventually(t, func() bool { return !f.review() }, patience, time.Millisecond, "all are there")
		f.requireRunning(f.games...)
	})
}

func TestTheOldEngineIsBack(t *testing.T) {
	f := newFleet(t, 5)
	restore := f.sim.Replace("another")
	require.Eventually(t, func() bool { return len(f.mirror.Games()) == 0 }, patience, time.Millisecond)
	f.stepAll()
	f.requireFrozen(f.games...)
	starts := f.sim.Calls("Start")
	restore()
	require.Eventually(t, func() bool { return !f.review() }, patience, time.Millisecond)
	f.stepAll()
	f.requireRunning(f.games...)
	require.Equal(t, starts, f.sim.Calls("Start"))
	require.False(t, f.brake.strange)
}

func TestTheBrakeReviewsItself(t *testing.T) {
	f := newFleet(t, 5)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.brake.Start(ctx) }()
	f.vanish(f.games...)
	f.stepAll()
	for range f.games {
		select {
		case <-f.woken:
		case <-time.After(patience):
			require.FailNow(t, "it is never released")
		}
	}
	f.stepAll()
	f.requireRunning(f.games...)
	cancel()
	require.NoError(t, <-ended)
}
