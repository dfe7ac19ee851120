package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/plan"
)

var errCut = &engine.Error{Kind: engine.Unreachable, Err: errors.New("the power is cut")}

// power is what a manager needs to change anything: the engine, the journal, the
// records. It is cut at one call of all, and no call comes through after it.
type power struct {
	mu    sync.Mutex
	calls int
	// cutAt is the number of the call; 0 is never.
	cutAt int
	// inFlight lets that call come to its end after the cut.
	inFlight bool
	off      bool
	late     sync.WaitGroup
	// died ends what waits for anything.
	died context.CancelFunc
}

func (p *power) call(ctx context.Context, do func(context.Context) error) error {
	p.mu.Lock()
	p.calls++
	last := p.calls == p.cutAt
	if p.off {
		p.mu.Unlock()
		return errCut
	}
	p.off = last
	p.mu.Unlock()
	if !last {
		return do(ctx)
	}
	if p.inFlight {
		p.late.Go(func() { _ = do(context.WithoutCancel(ctx)) }) // nobody hears of it
	} else {
		_ = do(ctx)
	}
	p.died()
	return errCut
}

func (p *power) isOff() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off
}

// cutEngine is an engine under power, watched for two games that run at once.
type cutEngine struct {
	*enginetest.Sim
	t     testing.TB
	power *power
}

func (e cutEngine) change(ctx context.Context, do func(context.Context) error) error {
	return e.power.call(ctx, func(ctx context.Context) error {
		err := do(ctx)
		if running := e.Running(chess); len(running) > 1 {
			e.t.Errorf("two containers of the game run: %v", running)
		}
		return err
	})
}

func (e cutEngine) EnsureNetwork(ctx context.Context, name, installation string) error {
	return e.change(ctx, func(ctx context.Context) error { return e.Sim.EnsureNetwork(ctx, name, installation) })
}

func (e cutEngine) Create(ctx context.Context, spec engine.ContainerSpec) (id string, err error) {
	made := make(chan string, 1)
	err = e.change(ctx, func(ctx context.Context) error {
		id, err := e.Sim.Create(ctx, spec)
		made <- id
		return err
	})
	if err != nil {
		return "", err
	}
	return <-made, nil
}

func (e cutEngine) Start(ctx context.Context, id string) error {
	return e.change(ctx, func(ctx context.Context) error { return e.Sim.Start(ctx, id) })
}

func (e cutEngine) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	return e.change(ctx, func(ctx context.Context) error { return e.Sim.Stop(ctx, id, signal, grace) })
}

func (e cutEngine) Rename(ctx context.Context, id, name string) error {
	return e.change(ctx, func(ctx context.Context) error { return e.Sim.Rename(ctx, id, name) })
}

func (e cutEngine) Remove(ctx context.Context, id string) error {
	return e.change(ctx, func(ctx context.Context) error { return e.Sim.Remove(ctx, id) })
}

func (e cutEngine) UpdateResources(ctx context.Context, id string, resources engine.Resources) error {
	return e.change(ctx, func(ctx context.Context) error { return e.Sim.UpdateResources(ctx, id, resources) })
}

type cutLog struct {
	journal.Log
	power *power
}

func (l cutLog) Write(ctx context.Context, term int64, begun []journal.Intent, finished map[string]journal.Result) error {
	return l.power.call(ctx, func(ctx context.Context) error { return l.Log.Write(ctx, term, begun, finished) })
}

// Tell comes through while there is power. It is no call to be cut at, as it goes
// on beside the others: what was not told by the cut is not told.
func (l cutLog) Tell(ctx context.Context, tellings []journal.Telling) error {
	if l.power.isOff() {
		return errCut
	}
	return l.Log.Tell(ctx, tellings)
}

// cutRecords checks each status that is written: all that happens to the game in
// these tests is our own doing.
func cutRecords(t testing.TB, records client.WithWatch, power *power) client.WithWatch {
	return interceptor.NewClient(records, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			return power.call(ctx, func(ctx context.Context) error { return c.Patch(ctx, o, patch, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			status := o.(*v1alpha1.GameRuntime).Status.DeepCopy()
			if end := status.LastTermination; end != nil && (end.Reason != v1alpha1.TerminationStoppedByUs || end.Operation == "") {
				t.Errorf("our own doing is called %s: %s", end.Reason, end.Message)
			}
			if status.Restarts != 0 {
				t.Errorf("our own doing is counted as a restart")
			}
			return power.call(ctx, func(ctx context.Context) error {
				return c.SubResource(sub).Patch(ctx, o.DeepCopyObject().(client.Object), patch, options...)
			})
		},
	})
}

// ahead is the real clock, moved by whoever waits.
type ahead struct {
	clock.RealClock
	mu sync.Mutex
	by time.Duration
}

func (a *ahead) Now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.RealClock.Now().Add(a.by)
}

func (a *ahead) Since(t time.Time) time.Duration { return a.Now().Sub(t) }

// crashing is a world whose managers die.
type crashing struct {
	*world
	parts parts
	time  *ahead
}

func newCrashing(t *testing.T) *crashing {
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	c := &crashing{world: &world{t: t, sim: enginetest.NewSim(image, "galaxy/chess:1.0.1")}, time: &ahead{}}
	c.parts = parts{
		records: fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.GameRuntime{}).Build(),
		engine:  c.sim, rows: journal.InMemory(), clock: c.time, root: filepath.Join(t.TempDir(), "games"),
		wire: func(_ *world, options *mirror.Options) { options.Clock = c.time },
	}
	return c
}

// live lets one manager work until it has nothing left to do, or is cut off at
// a call. It says whether it was.
func (c *crashing) live(power *power) (cut bool) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	power.died = cancel
	alive := c.parts
	alive.engine = cutEngine{c.sim, c.t, power}
	alive.rows = cutLog{c.parts.rows, power}
	alive.records = cutRecords(c.t, c.parts.records, power)
	c.boot(alive)
	defer func() {
		c.halt()
		power.late.Wait()
	}()
	for range 200 {
		result, err := c.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKey(chess)})
		switch {
		case power.isOff():
			return true
		case err != nil:
			require.NoError(c.t, err)
		case c.busy():
			select {
			case <-c.woken:
			case <-time.After(patience):
				c.t.Fatal("slow work does not end")
			}
		case result.RequeueAfter > 0 && result.RequeueAfter < backstop:
			c.pass(result.RequeueAfter)
		default:
			return false
		}
	}
	c.t.Fatal("it never settles")
	return false
}

// pass lets time pass, for us and for the engine.
func (c *crashing) pass(d time.Duration) {
	c.time.mu.Lock()
	c.time.by += d
	c.time.mu.Unlock()
	c.sim.Advance(d)
}

func (c *crashing) marker() string {
	return filepath.Join(plan.StateDir(c.parts.root, chess), "turn")
}

// exists says whether the record does.
func (c *crashing) exists() bool {
	err := c.parts.records.Get(context.Background(), client.ObjectKey(chess), &v1alpha1.GameRuntime{})
	require.NoError(c.t, client.IgnoreNotFound(err))
	return !apierrors.IsNotFound(err)
}

// TestKilledBetweenAnyTwoCalls cuts each manager off at every call to the engine,
// the journal and the records in turn, once before the call has come through and
// once after it, and its successor a few calls later. The third has to bring the
// game where it should be, and none may ever run two containers or mistake our
// own doing for the game's.
func TestKilledBetweenAnyTwoCalls(t *testing.T) {
	remove := func(c *crashing) { require.NoError(c.t, c.parts.records.Delete(context.Background(), c.read())) }
	edit := func(change func(*v1alpha1.GameRuntimeSpec)) func(*crashing) {
		return func(c *crashing) { c.change(change) }
	}
	stubborn := func(s *v1alpha1.GameRuntimeSpec) { s.Args = []string{enginetest.Stubborn} }
	for _, scenario := range []struct {
		name    string
		declare func(*v1alpha1.GameRuntimeSpec)
		wish    func(*crashing) // nil is the first start
		runs    bool
		exists  bool
		state   bool
	}{
		{"start", nil, nil, true, true, true},
		{"stop", nil, edit(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }), false, true, true},
		{"stop of a game that does not obey", stubborn, edit(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }), false, true, true},
		{"update", nil, edit(func(s *v1alpha1.GameRuntimeSpec) { s.Image = "galaxy/chess:1.0.1" }), true, true, true},
		{"restart", nil, edit(func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = ptr.To(metav1.Now()) }), true, true, true},
		{"resources", nil, edit(func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("128Mi") }), true, true, true},
		{"delete", nil, remove, false, false, true},
		{"delete with state", func(s *v1alpha1.GameRuntimeSpec) { s.Storage.ReclaimPolicy = v1alpha1.ReclaimDelete }, remove, false, false, false},
	} {
		for when, inFlight := range map[string]bool{"after": false, "during": true} {
			t.Run(scenario.name+"/cut "+when+" call", func(t *testing.T) {
				t.Parallel()
				for at, cut := 1, true; cut; at++ {
					require.Less(t, at, 100, "the power is never not cut")
					t.Run(fmt.Sprint(at), func(t *testing.T) {
						c := newCrashing(t)
						c.boot(c.parts)
						c.declare(scenario.declare)
						c.halt()
						if scenario.wish != nil {
							require.False(t, c.live(&power{}))
							require.NoError(t, os.WriteFile(c.marker(), []byte("7"), 0o600))
							scenario.wish(c)
						}
						cut = c.live(&power{cutAt: at, inFlight: inFlight})
						c.live(&power{cutAt: 1 + at%5, inFlight: inFlight})
						require.False(t, c.live(&power{}))
						c.requireArrived(scenario.runs, scenario.exists)
						if scenario.wish != nil {
							_, err := os.Stat(c.marker())
							require.Equal(t, scenario.state, err == nil)
						}
					})
				}
			})
		}
	}
}

func (c *crashing) requireArrived(runs, exists bool) {
	c.t.Helper()
	require.Equal(c.t, exists, c.exists())
	all, err := c.sim.List(context.Background(), c.settings.Installation)
	require.NoError(c.t, err)
	if exists {
		require.Len(c.t, all, 1)
		status := c.read().Status
		require.True(c.t, meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionInSync))
		require.NotEmpty(c.t, status.LastOperation.ID)
	} else {
		require.Empty(c.t, all)
	}
	require.Equal(c.t, runs, len(c.sim.Running(chess)) == 1)
	left, err := c.parts.rows.Load(context.Background(), nil)
	require.NoError(c.t, err)
	require.Empty(c.t, left, "no intent stays open")
	c.requireTold(runs)
}

// requireTold says that each run was told to begin, and each but a present one to
// end, and nothing else: no run is lost, and no end is anybody's but ours.
func (c *crashing) requireTold(runs bool) {
	c.t.Helper()
	ended := map[string]bool{} // by run
	for _, event := range heard(c.parts.rows) {
		details := struct {
			StartedAtMs int64 `json:"started_at_ms"`
		}{event.At().UnixMilli()}
		require.NoError(c.t, json.Unmarshal(event.Details(), &details))
		run := fmt.Sprint(event.Container(), "@", details.StartedAtMs)
		require.NotEmpty(c.t, event.Operation(), "ours")
		switch over, known := ended[run]; event.Type() {
		case started:
			require.False(c.t, known, "told twice: %s", run)
			ended[run] = false
		case exited:
			require.True(c.t, known && !over, "the end of a run that began, once: %s", run)
			ended[run] = true
		default:
			require.Fail(c.t, "nothing of the kind happened", event.Type())
		}
	}
	require.NotEmpty(c.t, ended)
	going := 0
	for _, over := range ended {
		if !over {
			going++
		}
	}
	require.Equal(c.t, runs, going == 1, "%v", ended)
	require.LessOrEqual(c.t, going, 1)
}
