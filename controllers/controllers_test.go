package controllers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	image    = "galaxy/chess:1.0.0"
	patience = 10 * time.Second
)

var chess = engine.GameID{Namespace: "default", Name: "chess"}

// world is the loop on a simulated engine, stepped by hand.
type world struct {
	*GameRuntimeReconciler
	t     testing.TB
	sim   *enginetest.Sim
	clock *testclock.FakeClock
	woken chan engine.GameID
	rows  journal.Log
	made  parts
	halt  func()
	told  string // the events that were read
}

// parts are what outlives a manager.
type parts struct {
	records client.WithWatch
	engine  engine.Engine
	rows    journal.Log
	clock   clock.WithTicker
	root    string
	// wire changes what is about to be put together.
	wire func(*world, *mirror.Options)
}

func newWorld(t *testing.T) *world { return newWorldThat(t, func(*world, *mirror.Options) {}) }

// newWorldThat lets a test wire it differently.
func newWorldThat(t testing.TB, wire func(*world, *mirror.Options)) *world {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	records := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.GameRuntime{}, &v1alpha1.DriftReport{}).Build()
	w := &world{t: t, sim: enginetest.NewSim(image), clock: testclock.NewFakeClock(time.Now())}
	w.boot(parts{records: records, engine: w.sim, rows: journal.InMemory(), clock: w.clock, root: filepath.Join(t.TempDir(), "games"), wire: wire})
	t.Cleanup(func() { w.halt() })
	return w
}

// boot starts a manager that knows nothing yet.
func (w *world) boot(p parts) {
	settings := plan.Settings{Installation: "0123456789", Network: "galaxy.01234567", StateRoot: p.root, User: fmt.Sprint(os.Getuid())}
	woken := make(chan engine.GameID, 100)
	wake := func(g engine.GameID) { woken <- g }
	w.woken, w.rows, w.made = woken, p.rows, p
	w.GameRuntimeReconciler = &GameRuntimeReconciler{
		client: p.records, live: p.records, engine: p.engine, settings: settings, clock: p.clock, log: logr.Discard(),
		prober:   probe.New(probe.Options{Log: logr.Discard()}),
		recorder: events.NewFakeRecorder(1000),
		leads:    func() error { return nil },
		journal:  journal.New(p.rows, logr.Discard()),
		states:   states{root: p.root},
		brake: newBrake(brakeOptions{
			records: p.records, clock: clock.RealClock{}, log: logr.Discard(), share: 0.2, min: 3, pace: time.Millisecond,
			wake: func(games ...engine.GameID) {
				for _, g := range games {
					wake(g)
				}
			},
		}),
	}
	w.herald, w.reconciles = newHerald(w.journal, p.clock), newReconcileMetric()
	w.work = newWorkshop(p.clock, wake, newPulls(p.clock, w.pull, wake, w.tellPulling))
	options := mirror.Options{
		Reader: p.engine, Installation: settings.Installation, Log: logr.Discard(), OnFleet: w.brake.engineChanged,
	}
	p.wire(w, &options)
	w.mirror = mirror.New(options)
	w.brake.mirror = w.mirror
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	mirrored, worked := w.mirror, w.work
	go func() { ended <- mirrored.Run(ctx) }()
	go func() { ended <- worked.Start(ctx) }()
	require.NoError(w.t, journalist{w.journal, w.brake, func(engine.GameID) {}}.Start(ctx))
	w.halt = func() {
		cancel()
		require.NoError(w.t, errors.Join(<-ended, <-ended))
		w.journal.Close()
	}
	require.Eventually(w.t, func() bool { return w.mirror.Fleet().Reachable }, patience, time.Millisecond)
}

// declared is a record, as the API server would have defaulted it.
func declared(game engine.GameID) *v1alpha1.GameRuntime {
	return &v1alpha1.GameRuntime{
		ObjectMeta: metav1.ObjectMeta{Namespace: game.Namespace, Name: game.Name, UID: types.UID("u-" + game.Name), Generation: 1},
		Spec: v1alpha1.GameRuntimeSpec{
			State: v1alpha1.StateRunning, Image: image, ImagePullPolicy: v1alpha1.PullIfNotPresent,
			RestartPolicy: v1alpha1.RestartAlways, StopSignal: "SIGTERM", StopGracePeriodSeconds: ptr.To[int32](1),
			Resources: v1alpha1.Resources{CPU: resource.MustParse("1"), Memory: resource.MustParse("64Mi"), Pids: 64},
			Storage:   v1alpha1.Storage{MountPath: "/state", ReclaimPolicy: v1alpha1.ReclaimRetain},
			Backoff:   v1alpha1.Backoff{Initial: metav1.Duration{Duration: time.Second}, Max: metav1.Duration{Duration: time.Minute}},
		},
	}
}

// declare writes a record.
func (w *world) declare(change func(*v1alpha1.GameRuntimeSpec)) {
	record := declared(chess)
	if change != nil {
		change(&record.Spec)
	}
	require.NoError(w.t, w.client.Create(context.Background(), record))
}

// change edits the spec, as somebody with kubectl.
func (w *world) change(edit func(*v1alpha1.GameRuntimeSpec)) {
	record := w.read()
	edit(&record.Spec)
	record.Generation++
	require.NoError(w.t, w.client.Update(context.Background(), record))
}

func (w *world) read() *v1alpha1.GameRuntime {
	w.t.Helper()
	record := &v1alpha1.GameRuntime{}
	require.NoError(w.t, w.client.Get(context.Background(), client.ObjectKey(chess), record))
	return record
}

func (w *world) step() ctrl.Result {
	w.t.Helper()
	result, err := w.Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKey(chess)})
	require.NoError(w.t, err)
	return result
}

// settle reconciles until nothing is left to do or only a source could help,
// waiting for slow work and letting back-offs pass. Another pass must then do
// nothing.
func (w *world) settle() {
	w.t.Helper()
	for range 100 {
		result := w.step()
		switch {
		case w.busy():
			select {
			case <-w.woken:
			case <-time.After(patience):
				w.t.Fatal("slow work does not end")
			}
		case result.RequeueAfter > 0 && result.RequeueAfter < backstop:
			w.elapse(result.RequeueAfter)
		default:
			calls := w.sim.Calls("Create") + w.sim.Calls("Start") + w.sim.Calls("Stop") + w.sim.Calls("Remove")
			w.step()
			require.Equal(w.t, calls, w.sim.Calls("Create")+w.sim.Calls("Start")+w.sim.Calls("Stop")+w.sim.Calls("Remove"), "steady")
			return
		}
	}
	w.t.Fatal("it never settles")
}

// elapse lets time pass, for us and for the engine.
func (w *world) elapse(d time.Duration) {
	w.clock.Step(d)
	w.sim.Advance(d)
}

// busy says that slow work goes on, or that its outcome was not taken yet.
func (w *world) busy() bool {
	w.work.mu.Lock()
	defer w.work.mu.Unlock()
	return w.work.jobs[chess] != nil
}

func (w *world) container() engine.Container {
	w.t.Helper()
	all, err := w.sim.List(context.Background(), w.settings.Installation)
	require.NoError(w.t, err)
	require.Len(w.t, all, 1)
	return all[0]
}

// seen waits until the mirror shows what was done behind its back.
func (w *world) seen(condition func(engine.View) bool) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return condition(w.mirror.View(chess)) }, patience, time.Millisecond)
}

func (w *world) requireReady() {
	w.t.Helper()
	status := w.read().Status
	require.True(w.t, meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady), "%+v", status)
	require.Len(w.t, w.sim.Running(chess), 1)
}

func TestDeclaredRuns(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	w.requireReady()
	require.DirExists(t, plan.StateDir(w.settings.StateRoot, chess))
	require.Contains(t, w.read().Finalizers, v1alpha1.FinalizerEngine)
}

func TestImageIsPulledFirst(t *testing.T) {
	w := newWorld(t)
	w.sim.Publish("galaxy/go:1.0.0")
	w.declare(func(s *v1alpha1.GameRuntimeSpec) { s.Image = "galaxy/go:1.0.0" })
	w.settle()
	w.requireReady()
	require.Equal(t, 1, w.sim.Calls("PullImage"))
}

func TestAlwaysPullsBeforeEachCreate(t *testing.T) {
	w := newWorld(t)
	w.sim.Publish(image)
	w.declare(func(s *v1alpha1.GameRuntimeSpec) { s.ImagePullPolicy = v1alpha1.PullAlways })
	w.settle()
	require.Equal(t, 1, w.sim.Calls("PullImage"))
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.Args = []string{enginetest.Serve} })
	w.settle()
	w.requireReady()
	require.Equal(t, 2, w.sim.Calls("PullImage"))
}

func TestAnswerOfACreateIsLost(t *testing.T) {
	w := newWorld(t)
	w.sim.Inject(enginetest.Fault{Verb: "Create", Call: 1, Kind: engine.Timeout, AfterEffect: true})
	w.declare(nil)
	w.settle()
	w.requireReady()
	require.Equal(t, 1, w.sim.Calls("Create"), "who has the name is asked, and it is this game")
}

func TestNameIsSomebodyElses(t *testing.T) {
	w := newWorld(t)
	name := plan.ContainerName(chess, w.settings.Installation)
	require.NoError(t, w.sim.EnsureNetwork(context.Background(), "theirs", ""))
	_, err := w.sim.Create(context.Background(), engine.ContainerSpec{Name: name, Image: image, Network: "theirs"})
	require.NoError(t, err)
	w.declare(nil)
	w.step()
	pending := w.read().Status.Pending
	require.Equal(t, v1alpha1.ReasonNameConflict, pending.Reason)
	require.Contains(t, pending.Message, "not ours")
	_, err = w.sim.Inspect(context.Background(), name)
	require.NoError(t, err, "and it is left alone")
}

func TestCrashIsRestarted(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	w.sim.Kill(w.container().ID, enginetest.Ending{Code: 3})
	w.seen(func(v engine.View) bool { return v.Containers[0].Exit != nil })
	w.settle()
	w.requireReady()
	status := w.read().Status
	require.Equal(t, int32(1), status.Restarts)
	require.Equal(t, int32(3), status.LastTermination.ExitCode)
}

// An end that is found late, when its back-off is over already, is told all the same.
func TestAnEndFoundLateIsCounted(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	w.sim.Kill(w.container().ID, enginetest.Ending{Code: 3})
	w.seen(func(v engine.View) bool { return v.Containers[0].Exit != nil })
	w.clock.Step(time.Hour)
	w.settle()
	w.requireReady()
	status := w.read().Status
	require.Equal(t, int32(1), status.Restarts)
	require.Equal(t, int32(3), status.LastTermination.ExitCode)
}

func TestRemovedByHandIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	first := w.container().ID
	w.sim.RemoveByHand(first)
	w.seen(func(v engine.View) bool { return len(v.Containers) == 0 })
	w.settle()
	w.requireReady()
	require.NotEqual(t, first, w.container().ID)
	require.Equal(t, int32(1), w.read().Status.Restarts)
}

func TestLostStateIsNotMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	dir := plan.StateDir(w.settings.StateRoot, chess)
	require.NoError(t, os.RemoveAll(filepath.Dir(dir))) // as a root that is not mounted
	w.sim.RemoveByHand(w.container().ID)
	w.seen(func(v engine.View) bool { return len(v.Containers) == 0 })
	w.step()
	w.clock.Step(time.Minute)
	w.step()
	pending := w.read().Status.Pending
	require.Equal(t, v1alpha1.ReasonStateMissing, pending.Reason)
	require.NotContains(t, pending.Message, w.settings.StateRoot, "no path of the host is told")
	require.NoDirExists(t, dir)
	require.Empty(t, w.sim.Running(chess))
	require.NoError(t, os.MkdirAll(dir, 0o700)) // by hand
	w.settle()
	w.requireReady()
}

func TestStoppedAndStarted(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	first := w.container().ID
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	w.settle()
	require.Equal(t, v1alpha1.PhaseStopped, w.read().Status.Phase)
	require.Empty(t, w.sim.Running(chess))
	require.Equal(t, first, w.container().ID, "kept")
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning })
	w.settle()
	w.requireReady()
	require.Zero(t, w.read().Status.Restarts)
}

func TestAStopThatHangsHoldsNoWorker(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	mend := w.sim.Inject(enginetest.Fault{Verb: "Stop", Hang: true})
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	w.step() // returns
	status := w.read().Status
	require.Equal(t, v1alpha1.PhaseStopping, status.Phase)
	require.NotNil(t, status.Pending.Deadline)
	mend()
	w.work.abandon(chess)
	w.settle()
	require.Equal(t, v1alpha1.PhaseStopped, w.read().Status.Phase)
}

func TestStartThatFailsIsTriedLessAndLess(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	mend := w.sim.Inject(enginetest.Fault{Verb: "Start", Kind: engine.StartFailed})
	var last time.Duration
	for try := int32(1); try <= 3; try++ {
		result := w.step()
		pending := w.read().Status.Pending
		require.Equal(t, v1alpha1.ReasonStartFailed, pending.Reason)
		require.Equal(t, try, pending.Failures)
		require.Greater(t, result.RequeueAfter, last)
		last = result.RequeueAfter
		w.clock.Step(last)
	}
	mend()
	w.settle()
	w.requireReady()
}

func TestDeletedGoesWithItsContainer(t *testing.T) {
	for policy, stateStays := range map[v1alpha1.ReclaimPolicy]bool{v1alpha1.ReclaimRetain: true, v1alpha1.ReclaimDelete: false} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t)
			w.declare(func(s *v1alpha1.GameRuntimeSpec) { s.Storage.ReclaimPolicy = policy })
			w.settle()
			require.NoError(t, w.client.Delete(context.Background(), w.read()))
			w.settle()
			err := w.client.Get(context.Background(), client.ObjectKey(chess), &v1alpha1.GameRuntime{})
			require.True(t, apierrors.IsNotFound(err))
			all, err := w.sim.List(context.Background(), w.settings.Installation)
			require.NoError(t, err)
			require.Empty(t, all)
			require.Equal(t, stateStays, w.states.exists(chess))
		})
	}
}

func TestEngineAwayIsNotGone(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	w.sim.SetDown(true)
	require.Eventually(t, func() bool { return !w.mirror.Fleet().Reachable }, patience, time.Millisecond)
	w.step()
	status := w.read().Status
	require.True(t, meta.IsStatusConditionFalse(status.Conditions, v1alpha1.ConditionEngineReachable))
	require.Equal(t, v1alpha1.PhaseRunning, status.Phase)
	w.sim.SetDown(false)
	require.Eventually(t, func() bool { return w.mirror.Fleet().Reachable }, patience, time.Millisecond)
	w.settle()
	w.requireReady()
	require.Zero(t, w.read().Status.Restarts)
}

func TestOperationIsOnTheContainer(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.step()
	require.Eventually(t, func() bool {
		open, err := w.rows.Load(context.Background(), nil)
		return err == nil && len(open) == 0
	}, patience, time.Millisecond, "all is finished")
	require.NotEmpty(t, w.container().Operation)
	last := w.read().Status.LastOperation
	require.Equal(t, v1alpha1.ActionStart, last.Action)
	require.Equal(t, v1alpha1.OperationSucceeded, last.Outcome)

	w.sim.Inject(enginetest.Fault{Verb: "Stop", Call: 1, Kind: engine.Timeout, AfterEffect: true})
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	w.settle()
	status := w.read().Status
	require.Equal(t, v1alpha1.ActionStop, status.LastOperation.Action)
	require.Equal(t, v1alpha1.OperationSucceeded, status.LastOperation.Outcome, "it was not answered, but is seen")
	require.Equal(t, status.LastOperation.ID, status.LastTermination.Operation)
}

// brokenLog refuses what is begun.
type brokenLog struct{ journal.Log }

func (brokenLog) Write(_ context.Context, _ int64, begun []journal.Intent, _ map[string]journal.Result) error {
	if len(begun) > 0 {
		return errors.New("the database is away")
	}
	return nil
}

func TestNothingIsDoneWithoutTheJournal(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	whole := w.journal
	defer func() { whole.Close() }()
	w.journal = journal.New(brokenLog{journal.InMemory()}, logr.Discard())
	w.journal.Load(context.Background())
	_, err := w.Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKey(chess)})
	require.ErrorContains(t, err, "writing the intent to create: the database is away")
	require.Zero(t, w.sim.Calls("Create"))
	require.False(t, w.states.exists(chess))
}

// A lead may run out before an intent is written, after that, and while a game
// prepares for its stop.
func TestNothingIsDoneWithoutTheLead(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	for asked := range 2 {
		w.leads = leadsFor(asked)
		_, _ = w.Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKey(chess)})
		require.Zero(t, w.sim.Calls("Create"), "asked %d times before", asked)
		require.False(t, w.states.exists(chess))
	}
	w.leads = leadsFor(math.MaxInt)
	w.settle()
	w.requireReady()

	w.leads = leadsFor(2)
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	w.step()
	<-w.woken
	require.Zero(t, w.sim.Calls("Stop"))
	w.leads = leadsFor(math.MaxInt)
	w.settle()
	require.Equal(t, 1, w.sim.Calls("Stop"))
}

// leadsFor leads when it is asked so often.
func leadsFor(times int) func() error {
	return func() error {
		if times--; times < 0 {
			return errors.New("the lease ran out")
		}
		return nil
	}
}

func TestStateDirectoriesAreOneGameDeep(t *testing.T) {
	s := states{root: t.TempDir()}
	for _, bad := range []engine.GameID{{}, {Namespace: "..", Name: "x"}, {Namespace: "a", Name: ".."}, {Namespace: "a", Name: ""}, {Namespace: "a/b", Name: "c"}} {
		require.ErrorIs(t, s.remove(bad), plan.ErrState, "%v", bad)
	}
	require.NoError(t, s.ensure(chess, fmt.Sprint(os.Getuid()), ""))
	require.NoError(t, s.ensure(chess, fmt.Sprint(os.Getuid()), ""))
	info, err := os.Stat(plan.StateDir(s.root, chess))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	err = s.ensure(engine.GameID{Namespace: "default", Name: "go"}, "", "nobody")
	require.ErrorContains(t, err, "runAsUser")
	require.NotContains(t, err.Error(), s.root, "no path of the host is told")
	require.NoError(t, s.remove(chess))
	require.NoDirExists(t, plan.StateDir(s.root, chess))
}

func TestWorkshop(t *testing.T) {
	woken := make(chan engine.GameID, 10)
	w := newWorkshop(testclock.NewFakeClock(time.Now()), func(g engine.GameID) { woken <- g }, newPulls(nil, nil, nil, nil))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Start(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
	}()

	begun, cancelled := make(chan struct{}), make(chan struct{})
	w.begin(chess, plan.Work{Action: plan.PullImage{Ref: "typo"}}, time.Hour, func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		close(cancelled)
		return ctx.Err()
	})
	<-begun
	require.Equal(t, plan.PullImage{Ref: "typo"}, w.inHand(chess).Action)
	require.Nil(t, w.take(chess))
	w.begin(chess, plan.Work{Action: plan.PullImage{Ref: "right"}}, time.Hour, func(context.Context) error { return nil })
	<-cancelled
	require.Equal(t, chess, <-woken)
	outcome := w.take(chess)
	require.Equal(t, plan.PullImage{Ref: "right"}, outcome.Action, "the one that was given up tells nobody")
	require.NoError(t, outcome.Err)
	require.Nil(t, w.take(chess), "an outcome is taken once")
	require.Empty(t, woken)
}
