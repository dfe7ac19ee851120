package controllers

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/plan"
)

// workers is how many games the loop of these tests works on at once.
const workers = 8

// runQueue runs the library's controller with its priority queue.
func runQueue(t testing.TB, feeds *sources, concurrency int, reconciler reconcile.Reconciler) {
	c, err := controller.NewUnmanaged("games", controller.Options{
		Reconciler: reconciler, MaxConcurrentReconciles: concurrency, SkipNameValidation: ptr.To(true), Logger: logr.Discard(),
	})
	require.NoError(t, err)
	require.NoError(t, c.Watch(feeds))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	require.Eventually(t, func() bool {
		feeds.mu.Lock()
		defer feeds.mu.Unlock()
		return feeds.queue != nil
	}, patience, time.Millisecond)
}

// crowd is a world whose loop runs by itself, for many games.
type crowd struct {
	*world
	feeds *sources
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{feeds: &sources{}}
	c.world = newWorldThat(t, c.feed)
	runQueue(t, c.feeds, workers, c)
	return c
}

// feed lets what happens wake the games in the queue.
func (c *crowd) feed(w *world, o *mirror.Options) {
	w.GameRuntimeReconciler.clock = clock.RealClock{}
	w.recorder = &events.FakeRecorder{} // which keeps nothing
	w.work = newWorkshop(clock.RealClock{}, c.feeds.gameChanged,
		newPulls(clock.RealClock{}, w.pull, c.feeds.gameChanged, w.tellPulling))
	c.feeds.records = w.client
	o.OnChange, o.OnFleet = c.feeds.gameChanged, c.feeds.engineChanged
}

func named(i int) engine.GameID {
	return engine.GameID{Namespace: "default", Name: fmt.Sprintf("game-%d", i)}
}

// write declares a game, and tells the queue as a watch on the records does.
func (c *crowd) write(game engine.GameID, change func(*v1alpha1.GameRuntimeSpec)) {
	record := declared(game)
	record.Spec.Backoff.Initial.Duration = time.Millisecond
	record.Finalizers = []string{v1alpha1.FinalizerEngine}
	if change != nil {
		change(&record.Spec)
	}
	require.NoError(c.t, c.client.Create(context.Background(), record))
	c.feeds.add(0, ctrl.Request{NamespacedName: client.ObjectKey(game)})
}

func (c *crowd) stop(game engine.GameID) {
	record := &v1alpha1.GameRuntime{}
	require.Eventually(c.t, func() bool { // the loop writes, too
		require.NoError(c.t, c.client.Get(context.Background(), client.ObjectKey(game), record))
		record.Spec.State = v1alpha1.StateStopped
		record.Generation++
		return c.client.Update(context.Background(), record) == nil
	}, patience, time.Millisecond)
	c.feeds.add(0, ctrl.Request{NamespacedName: client.ObjectKey(game)})
}

func (c *crowd) runs(game engine.GameID) func() bool {
	return func() bool { return len(c.sim.Running(game)) == 1 }
}

// await waits for less than any call that hangs in these tests.
func (c *crowd) await(what string, condition func() bool) {
	c.t.Helper()
	require.Eventually(c.t, condition, patience, time.Millisecond, what)
}

func (c *crowd) nameOf(game engine.GameID) string {
	return plan.ContainerName(game, c.settings.Installation)
}

func TestStartsThatHangHoldBackNobody(t *testing.T) {
	const hung = 20
	c := newCrowd(t)
	c.write(chess, nil)
	c.await("chess runs", c.runs(chess))
	for i := range hung {
		c.sim.Inject(enginetest.Fault{Verb: "Start", On: c.nameOf(named(i)), Hang: true})
		c.write(named(i), nil)
	}
	c.await("a worker's worth of starts hangs", func() bool { return c.sim.Calls("Start") > workers })
	c.sim.Kill(c.nameOf(chess), enginetest.Ending{Code: 1})
	c.await("chess runs again while they hang", c.runs(chess))
	c.await("all of them hang", func() bool { return c.sim.Calls("Start") >= hung+2 })
	c.write(named(hung), nil)
	c.await("a new game starts while they hang", c.runs(named(hung)))

	record := &v1alpha1.GameRuntime{}
	c.await("they say what they wait for", func() bool {
		require.NoError(t, c.client.Get(context.Background(), client.ObjectKey(named(0)), record))
		return record.Status.Pending != nil && record.Status.Pending.Deadline != nil
	})
	require.Equal(t, v1alpha1.ReasonStarting, record.Status.Pending.Reason)
	require.Equal(t, v1alpha1.PhaseStarting, record.Status.Phase)
}

func TestStubbornStopsHoldBackNobody(t *testing.T) {
	const stubborn = 200
	c := newCrowd(t)
	c.write(chess, nil)
	for i := range stubborn {
		c.write(named(i), func(s *v1alpha1.GameRuntimeSpec) {
			s.Args, s.StopGracePeriodSeconds = []string{enginetest.Stubborn}, ptr.To[int32](600)
		})
	}
	for i := range stubborn {
		c.await("all run", c.runs(named(i)))
	}
	for i := range stubborn {
		c.stop(named(i))
	}
	c.await("all of them are being stopped", func() bool { return c.sim.Calls("Stop") >= stubborn })
	c.stop(chess)
	c.await("chess has ended", func() bool { return len(c.sim.Running(chess)) == 0 })
	for i := range stubborn {
		require.Len(t, c.sim.Running(named(i)), 1, "while they go on")
	}
}

func TestADeathOvertakesABulk(t *testing.T) {
	const bulk = 1000
	c := newCrowd(t)
	c.write(chess, nil)
	c.await("chess runs", c.runs(chess))
	c.sim.Inject(enginetest.Fault{Verb: "Create", Delay: 10 * time.Millisecond})
	for i := range bulk {
		c.write(named(i), nil)
	}
	c.sim.Kill(c.nameOf(chess), enginetest.Ending{Code: 1})
	c.await("chess runs again", c.runs(chess))
	require.Less(t, c.sim.Calls("Create"), bulk, "before the bulk is through")
}

func TestOrderOfTheQueue(t *testing.T) {
	const resync, bulk = 10_000, 1000
	w := newWorld(t)
	for i := range resync {
		require.NoError(t, w.client.Create(context.Background(), &v1alpha1.GameRuntime{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: named(i).Name},
		}))
	}
	var (
		mu    sync.Mutex
		order []string
	)
	feeds := &sources{records: w.client}
	blocked, open := make(chan struct{}), make(chan struct{})
	runQueue(t, feeds, 1, reconcile.Func(func(_ context.Context, request ctrl.Request) (ctrl.Result, error) {
		if request.Name == "first" {
			close(blocked)
			<-open
		}
		mu.Lock()
		defer mu.Unlock()
		order = append(order, request.Name)
		return ctrl.Result{}, nil
	}))
	request := func(name string) ctrl.Request {
		return ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: name}}
	}
	feeds.add(0, request("first"))
	<-blocked
	feeds.engineChanged(engine.Fleet{})
	for i := range bulk {
		feeds.add(0, request(fmt.Sprintf("bulk-%d", i)))
	}
	feeds.add(0, request("write"))
	feeds.gameChanged(chess)
	close(open)
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(order) == 1+1+bulk+1+resync
	}, patience, time.Millisecond)
	require.Equal(t, "chess", order[1], "an event about a running game overtakes a bulk")
	require.Contains(t, order[2:2+bulk+1], "write", "a write overtakes a resync")
}

func TestABusyEngineIsWaitedForLonger(t *testing.T) {
	now := testclock.NewFakeClock(time.Now())
	w := newWorkshop(now, func(engine.GameID) {}, nil)
	call := func(context.Context) error { now.Step(8 * time.Second); return nil }
	require.NotNil(t, w.do(chess, plan.Work{Action: plan.StartContainer{}}, time.Minute, call), "waited for")
	next := &job{work: plan.Work{Action: plan.StartContainer{}}}
	linger := w.start(chess, next, time.Minute, call)
	<-next.ended
	require.Equal(t, 4*time.Second, linger, "several times what calls take")
}
