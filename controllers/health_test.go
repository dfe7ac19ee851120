package controllers

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/health"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/probe"
)

const (
	started     = v1alpha1.HealthContainerStarted
	exited      = v1alpha1.HealthContainerExited
	oom         = v1alpha1.HealthContainerOOM
	disappeared = v1alpha1.HealthContainerDisappeared
)

// ear is a log that hears what is told, unless it is deaf. It counts.
type ear struct {
	*journal.Memory
	deaf     atomic.Bool
	tellings atomic.Int64
}

func (e *ear) Tell(ctx context.Context, tellings []journal.Telling) error {
	e.tellings.Add(1)
	if e.deaf.Load() {
		return errors.New("the database is away")
	}
	return e.Memory.Tell(ctx, tellings)
}

// listen makes a world with an ear.
func listen(t *testing.T) (*world, *ear) {
	w, e := newWorld(t), &ear{Memory: journal.InMemory()}
	w.made.rows = e
	w.reboot()
	return w, e
}

// reboot ends the manager, which closes its books, and starts another.
func (w *world) reboot() {
	w.halt()
	w.boot(w.made)
}

// heard are the types of the events of the game, in the order in which they were told.
func (w *world) heard() []v1alpha1.HealthEventType {
	w.t.Helper()
	require.NoError(w.t, w.journal.Told(context.Background(), types.NamespacedName(chess)))
	var kinds []v1alpha1.HealthEventType
	for _, event := range heard(w.rows) {
		kinds = append(kinds, event.Type())
	}
	return kinds
}

func heard(rows journal.Log) []health.Event {
	switch rows := rows.(type) {
	case *ear:
		return rows.Events(types.NamespacedName(chess))
	case *journal.Memory:
		return rows.Events(types.NamespacedName(chess))
	default:
		panic("a log without a memory")
	}
}

func TestAStartIsToldOnce(t *testing.T) {
	w, rows := listen(t)
	w.declare(nil)
	w.settle()
	require.Equal(t, []v1alpha1.HealthEventType{started}, w.heard())
	require.Equal(t, w.container().ID, heard(rows)[0].Container())
	require.Equal(t, w.read().Status.LastOperation.ID, heard(rows)[0].Operation())

	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Pids = 65 })
	w.settle()
	require.Equal(t, []v1alpha1.HealthEventType{started}, w.heard(), "the status changed, and the start is the same")

	before := rows.tellings.Load()
	for range 10 {
		w.step()
	}
	require.NoError(t, w.journal.Told(context.Background(), types.NamespacedName(chess)))
	require.Equal(t, before, rows.tellings.Load(), "nothing changed")
	require.InDelta(t, 1, testutil.ToFloat64(w.herald.events.WithLabelValues(string(started))), 0)
}

func TestAnEndIsTold(t *testing.T) {
	ended := func(v engine.View) bool { return len(v.Containers) == 1 && v.Containers[0].Exit != nil }
	gone := func(v engine.View) bool { return len(v.Containers) == 0 }
	kill := func(how enginetest.Ending) func(w *world, id string) {
		return func(w *world, id string) { w.sim.Kill(id, how) }
	}
	for name, c := range map[string]struct {
		end  func(w *world, id string)
		seen func(engine.View) bool
		want v1alpha1.HealthEventType
	}{
		"crash":                       {kill(enginetest.Ending{Code: 3}), ended, exited},
		"the engine's flag":           {kill(enginetest.Ending{Code: 137, OOM: true}), ended, oom},
		"exit code 137 alone":         {kill(enginetest.Ending{Code: 137}), ended, exited},
		"docker kill":                 {kill(enginetest.Ending{Code: 137, Signal: "SIGKILL"}), ended, exited},
		"docker rm -f":                {func(w *world, id string) { w.sim.RemoveByHand(id) }, gone, disappeared},
		"docker rm -f of a dead game": {func(w *world, id string) { w.sim.Kill(id, enginetest.Ending{Code: 3}); w.sim.RemoveByHand(id) }, gone, disappeared},
	} {
		t.Run(name, func(t *testing.T) {
			w, rows := listen(t)
			w.declare(nil)
			w.settle()
			id := w.container().ID
			c.end(w, id)
			w.seen(c.seen)
			w.settle()
			w.requireReady()
			require.Equal(t, []v1alpha1.HealthEventType{started, c.want, started}, w.heard())
			require.Equal(t, id, heard(rows)[1].Container())
			require.Empty(t, heard(rows)[1].Operation())

			w.reboot()
			w.settle()
			require.Equal(t, []v1alpha1.HealthEventType{started, c.want, started}, w.heard(), "another manager has nothing to add")
		})
	}
}

func TestAStartThatFailsIsNoEnd(t *testing.T) {
	w, _ := listen(t)
	w.sim.Inject(enginetest.Fault{Verb: "Start", Call: 1, Kind: engine.StartFailed})
	w.declare(nil)
	w.settle()
	w.requireReady()
	require.Equal(t, []v1alpha1.HealthEventType{started}, w.heard())
}

func TestOurOwnDoingIsNoDisappearance(t *testing.T) {
	for name, c := range map[string]struct {
		wish func(w *world)
		want []v1alpha1.HealthEventType
	}{
		"stop": {
			func(w *world) { w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }) },
			[]v1alpha1.HealthEventType{started, exited},
		},
		"stop, kept no time": {
			func(w *world) {
				w.change(func(s *v1alpha1.GameRuntimeSpec) {
					s.State, s.RetainStoppedFor = v1alpha1.StateStopped, &metav1.Duration{}
				})
			},
			[]v1alpha1.HealthEventType{started, exited},
		},
		"restart": {
			func(w *world) { w.change(func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = ptr.To(metav1.Now()) }) },
			[]v1alpha1.HealthEventType{started, exited, started},
		},
		"recreate": {
			func(w *world) { w.change(func(s *v1alpha1.GameRuntimeSpec) { s.Env = []v1alpha1.EnvVar{{Name: "A"}} }) },
			[]v1alpha1.HealthEventType{started, exited, started},
		},
		"delete": {
			func(w *world) { require.NoError(w.t, w.client.Delete(context.Background(), w.read())) },
			[]v1alpha1.HealthEventType{started, exited},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, rows := listen(t)
			w.declare(nil)
			w.settle()
			c.wish(w)
			w.settle()
			require.Equal(t, c.want, w.heard())
			require.NotEmpty(t, heard(rows)[1].Operation(), "we did it")
		})
	}
}

func TestAStartByHandIsUnhealthy(t *testing.T) {
	w, rows := listen(t)
	w.declare(func(s *v1alpha1.GameRuntimeSpec) { s.RestartPolicy = v1alpha1.RestartNever })
	w.settle()
	id := w.container().ID
	w.sim.Kill(id, enginetest.Ending{Code: 3})
	w.seen(func(v engine.View) bool { return v.Containers[0].Exit != nil })
	w.settle()
	require.NoError(t, w.sim.Start(context.Background(), id))
	w.seen(func(v engine.View) bool {
		return v.Containers[0].State == engine.StateRunning && v.Containers[0].Inspected
	})
	w.settle()
	require.Equal(t, []v1alpha1.HealthEventType{started, exited, v1alpha1.HealthInspectUnhealthy}, w.heard())
	require.Empty(t, heard(rows)[2].Operation())
}

func TestAProbeThatFailsAndRecoversIsToldOnceEach(t *testing.T) {
	const failed, recovered = v1alpha1.HealthProbeFailed, v1alpha1.HealthProbeRecovered
	w, _ := listen(t)
	var sick atomic.Bool
	w.made.wire = func(w *world, _ *mirror.Options) {
		w.prober = probe.New(probe.Options{Log: logr.Discard(), Clock: w.clock, Check: func(context.Context, probe.Target, v1alpha1.Probe) error {
			if sick.Load() {
				return errors.New("HTTP 503")
			}
			return nil
		}})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func(p *probe.Prober) { ended <- p.Run(ctx) }(w.prober)
		t.Cleanup(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	w.reboot()
	until := func(verdict string) {
		t.Helper()
		require.Eventually(t, func() bool {
			w.elapse(time.Second)
			w.step()
			verdicts := w.read().Status.Health
			return len(verdicts) > 0 && verdicts[0].Verdict == verdict
		}, patience, time.Millisecond)
	}
	w.declare(func(s *v1alpha1.GameRuntimeSpec) {
		s.Probes.Readiness = &v1alpha1.Probe{
			HTTPGet: &v1alpha1.HTTPGetAction{Path: "/", Port: 8080}, PeriodSeconds: 1, TimeoutSeconds: 60, SuccessThreshold: 1, FailureThreshold: 3,
		}
	})
	until(v1alpha1.VerdictSucceeding)
	require.Equal(t, []v1alpha1.HealthEventType{started}, w.heard())
	sick.Store(true)
	until(v1alpha1.VerdictFailing)
	w.reboot()
	until(v1alpha1.VerdictFailing)
	require.Equal(t, []v1alpha1.HealthEventType{started, failed}, w.heard())
	sick.Store(false)
	until(v1alpha1.VerdictSucceeding)
	w.reboot()
	until(v1alpha1.VerdictSucceeding)
	require.Equal(t, []v1alpha1.HealthEventType{started, failed, recovered}, w.heard())
	sick.Store(true)
	until(v1alpha1.VerdictFailing)
	require.Equal(t, []v1alpha1.HealthEventType{started, failed, recovered, failed}, w.heard())
}

// A failure is on record before anything is done about it: a stop ends what is
// said of the run.
func TestAFailureThatEndsTheRunIsTold(t *testing.T) {
	w, _ := listen(t)
	w.prober = probe.New(probe.Options{Log: logr.Discard(), Check: func(context.Context, probe.Target, v1alpha1.Probe) error {
		return errors.New("HTTP 503")
	}})
	preStop := running(enginetest.GamePath, enginetest.Say, "bye")
	w.declare(func(s *v1alpha1.GameRuntimeSpec) {
		s.Probes.Liveness = &v1alpha1.Probe{HTTPGet: &v1alpha1.HTTPGetAction{Port: 8080}, FailureThreshold: 1}
		s.Lifecycle.PreStop = &preStop
	})
	w.settle()
	reported := make(chan struct{})
	w.engine = &watched{Sim: w.sim, exec: func() { <-reported }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.prober.Run(ctx) }()
	require.Eventually(t, func() bool {
		return w.probe(w.read(), w.mirror.View(chess))[0].Verdict == v1alpha1.VerdictFailing
	}, patience, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	w.elapse(time.Second) // this clock stands still while the prober's goes
	w.step()
	require.True(t, w.work.stopping(chess))
	close(reported)
	w.settle()
	require.Equal(t, v1alpha1.TerminationProbeFailed, w.read().Status.LastTermination.Reason)
	require.Equal(t, []v1alpha1.HealthEventType{started, v1alpha1.HealthProbeFailed, exited, started}, w.heard())
	require.Contains(t, w.events(), "Warning "+v1alpha1.ReasonProbeFailed+" the liveness probe fails: ")
}

// What a status tells of that was written, and was not told when its manager
// died, is told by the next.
func TestAManagerThatDiesBeforeItTells(t *testing.T) {
	w, rows := listen(t)
	w.declare(nil)
	rows.deaf.Store(true)
	w.settle()
	w.halt()
	require.Empty(t, heard(rows))
	rows.deaf.Store(false)
	w.boot(w.made)
	w.step()
	require.Equal(t, []v1alpha1.HealthEventType{started}, w.heard())
}

// A fact is not overwritten before it was told.
func TestAStatusIsKeptUntilItIsTold(t *testing.T) {
	w, rows := listen(t)
	w.declare(nil)
	rows.deaf.Store(true)
	w.settle()
	first := w.read().Status.Container
	w.sim.Kill(w.container().ID, enginetest.Ending{Code: 3})
	w.seen(func(v engine.View) bool { return v.Containers[0].Exit != nil })
	w.step() // tells the end besides the start
	require.Equal(t, int32(3), w.read().Status.LastTermination.ExitCode)

	w.elapse(time.Minute)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := w.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKey(chess)})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "telling of what the status is about to forget")
	require.True(t, first.StartedAt.Equal(w.read().Status.Container.StartedAt), "the first run is recorded still")

	rows.deaf.Store(false)
	w.settle()
	w.requireReady()
	require.Equal(t, []v1alpha1.HealthEventType{started, exited, started}, w.heard())
}

func TestADeletedRecordGoesWhenAllIsTold(t *testing.T) {
	w, rows := listen(t)
	w.declare(nil)
	w.settle()
	rows.deaf.Store(true)
	require.NoError(t, w.client.Delete(context.Background(), w.read()))
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	for err := error(nil); err == nil; { // until it is told that it is not told
		_, err = w.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKey(chess)})
		if err == nil && w.busy() {
			<-w.woken
		}
		require.Contains(t, w.read().Finalizers, v1alpha1.FinalizerEngine)
	}
	rows.deaf.Store(false)
	w.settle()
	require.Error(t, w.client.Get(context.Background(), client.ObjectKey(chess), &v1alpha1.GameRuntime{}))
	require.Equal(t, []v1alpha1.HealthEventType{started, exited}, w.heard())
	require.Empty(t, w.herald.told, "the game is forgotten")
}

// A container that goes by hand while its record is being deleted has no status
// of its own otherwise.
func TestADeletedGameThatDisappears(t *testing.T) {
	w, _ := listen(t)
	w.declare(nil)
	w.settle()
	w.sim.RemoveByHand(w.container().ID)
	w.seen(func(v engine.View) bool { return len(v.Containers) == 0 })
	require.NoError(t, w.client.Delete(context.Background(), w.read()))
	w.settle()
	require.Error(t, w.client.Get(context.Background(), client.ObjectKey(chess), &v1alpha1.GameRuntime{}))
	require.Equal(t, []v1alpha1.HealthEventType{started, disappeared}, w.heard())
}

// A record that stays as it is costs no allocation beyond its look-up.
func TestNothingIsDerivedOfAStatusThatIsTold(t *testing.T) {
	w, _ := listen(t)
	w.declare(nil)
	w.settle()
	record := w.read()
	w.herald.look(record)
	require.Zero(t, testing.AllocsPerRun(100, func() { w.herald.look(record) }))
}

func TestAHealthcheckThatFailsIsTold(t *testing.T) {
	w, rows := listen(t)
	w.sim.AddHealthcheck(image)
	w.declare(nil)
	w.settle()
	turn := func(state engine.HealthState, output string) {
		w.sim.TurnHealth(w.container().ID, engine.Health{State: state, Output: output})
		w.seen(func(v engine.View) bool {
			return v.Containers[0].Inspected && v.Containers[0].Health != nil && v.Containers[0].Health.State == state
		})
		w.settle()
	}
	turn(engine.HealthUnhealthy, "the turn is lost")
	want := []v1alpha1.HealthEventType{started, v1alpha1.HealthInspectUnhealthy}
	require.Equal(t, want, w.heard())
	require.Contains(t, string(heard(rows)[1].Details()), "the turn is lost")
	turn(engine.HealthHealthy, "")
	w.reboot()
	w.settle()
	require.Equal(t, want, w.heard(), "its recovery is in the status alone")
	w.elapse(time.Minute)
	turn(engine.HealthUnhealthy, "again")
	require.Equal(t, append(want, v1alpha1.HealthInspectUnhealthy), w.heard())
}
