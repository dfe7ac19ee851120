package controllers

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/probe"
)

// probed has a prober run for as long as the test, whose checks are made so.
func (w *world) probed(t *testing.T, check probe.Check) (changed <-chan types.NamespacedName) {
	told := make(chan types.NamespacedName, 10)
	w.prober = probe.New(probe.Options{Log: logr.Discard(), Check: check, OnChange: func(game types.NamespacedName) { told <- game }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.prober.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return told
}

func withReadiness(s *v1alpha1.GameRuntimeSpec) {
	s.Probes.Readiness = &v1alpha1.Probe{
		TCPSocket: &v1alpha1.TCPSocketAction{Port: 8080}, PeriodSeconds: 1, TimeoutSeconds: 60, SuccessThreshold: 1, FailureThreshold: 1,
	}
}

// TestVerdictsSurviveTheManager has one probe fail, which is not to be acted on yet,
// and the other succeed.
func TestVerdictsSurviveTheManager(t *testing.T) {
	w := newWorld(t)
	changed := w.probed(t, func(_ context.Context, _ probe.Target, spec v1alpha1.Probe) error {
		if spec.TCPSocket.Port == 9090 {
			return errors.New("nobody is there")
		}
		return nil
	})
	w.declare(func(s *v1alpha1.GameRuntimeSpec) {
		withReadiness(s)
		liveness := *s.Probes.Readiness
		liveness.TCPSocket = &v1alpha1.TCPSocketAction{Port: 9090}
		s.Probes.Liveness, s.Probes.RestartAfterSeconds = &liveness, 3600
	})
	w.step()
	<-changed
	<-changed
	w.step()
	before := w.read().Status
	require.Equal(t, []string{v1alpha1.VerdictFailing, v1alpha1.VerdictSucceeding}, []string{before.Health[0].Verdict, before.Health[1].Verdict})
	w.reboot() // with a prober that never runs
	w.seen(func(v engine.View) bool { return len(v.Containers) == 1 && v.Containers[0].Inspected })
	w.step()
	require.Equal(t, before, w.read().Status, "nothing is told anew")
}

// TestNothingIsProbedDuringAStop has a check go on when a stop is asked for.
func TestNothingIsProbedDuringAStop(t *testing.T) {
	w := newWorld(t)
	var checks, underWay, beside atomic.Int32
	w.probed(t, func(ctx context.Context, _ probe.Target, _ v1alpha1.Probe) error {
		checks.Add(1)
		underWay.Add(1)
		defer underWay.Add(-1)
		<-ctx.Done()
		return ctx.Err()
	})
	w.declare(func(s *v1alpha1.GameRuntimeSpec) {
		withReadiness(s)
		stopWith(running(enginetest.GamePath, enginetest.Say, "bye"))(s)
	})
	w.settle()
	require.Eventually(t, func() bool { return underWay.Load() == 1 }, patience, time.Millisecond)
	w.engine = &watched{Sim: w.sim, exec: func() { beside.Store(underWay.Load()) }}
	beside.Store(-1)
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	w.settle()
	require.Equal(t, v1alpha1.PhaseStopped, w.read().Status.Phase)
	require.Zero(t, beside.Load(), "checks while preStop ran")
	require.EqualValues(t, 1, checks.Load())
}

func TestAStopThatFailedProbesOn(t *testing.T) {
	w := newWorld(t)
	var checks atomic.Int32
	changed := w.probed(t, func(context.Context, probe.Target, v1alpha1.Probe) error {
		checks.Add(1)
		return nil
	})
	w.declare(withReadiness)
	w.settle()
	<-changed
	w.settle()
	verdict := w.read().Status.Health

	mend := w.sim.Inject(enginetest.Fault{Verb: "Stop", Kind: engine.Failed})
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	w.step()
	require.Equal(t, verdict, w.read().Status.Health, "while the stop is in hand the last verdict stands")
	<-w.woken
	w.step()
	require.Equal(t, verdict, w.read().Status.Health)
	made := checks.Load()
	require.Eventually(t, func() bool { return checks.Load() > made }, patience, time.Millisecond)
	mend()
	w.settle()
	require.Equal(t, v1alpha1.PhaseStopped, w.read().Status.Phase)
	require.Empty(t, changed)
}

func TestVerdictsAreOfOneRun(t *testing.T) {
	now := time.Now()
	good := v1alpha1.ProbeStatus{Probe: v1alpha1.ProbeStartup, Verdict: v1alpha1.VerdictSucceeding}
	bad := v1alpha1.ProbeStatus{Probe: v1alpha1.ProbeLiveness, Verdict: v1alpha1.VerdictFailing}
	for name, c := range map[string]struct {
		change func(*v1alpha1.GameRuntime, *engine.Container)
		want   []v1alpha1.ProbeStatus
	}{
		"the same":          {func(*v1alpha1.GameRuntime, *engine.Container) {}, []v1alpha1.ProbeStatus{good, bad}},
		"edited since":      {func(r *v1alpha1.GameRuntime, _ *engine.Container) { r.Generation++ }, []v1alpha1.ProbeStatus{good}},
		"started again":     {func(_ *v1alpha1.GameRuntime, c *engine.Container) { c.StartedAt = now.Add(time.Second) }, nil},
		"another container": {func(_ *v1alpha1.GameRuntime, c *engine.Container) { c.ID = "c2" }, nil},
		"ended meanwhile": {func(r *v1alpha1.GameRuntime, _ *engine.Container) {
			r.Status.Container.State = v1alpha1.ContainerStopped
		}, nil},
		"not recorded": {func(r *v1alpha1.GameRuntime, _ *engine.Container) { r.Status.Container = nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			record := declared(chess)
			started := metav1.NewMicroTime(now.Truncate(time.Microsecond))
			record.Status = v1alpha1.GameRuntimeStatus{
				ObservedGeneration: record.Generation, Health: []v1alpha1.ProbeStatus{good, bad},
				Container: &v1alpha1.ContainerStatus{ID: "c1", State: v1alpha1.ContainerRunning, StartedAt: &started},
			}
			container := engine.Container{ID: "c1", State: engine.StateRunning, StartedAt: now, Inspected: true}
			c.change(record, &container)
			require.Equal(t, c.want, verdictsToKeep(record, container))
			require.Equal(t, []v1alpha1.ProbeStatus{good, bad}, record.Status.Health, "the record is not touched")
		})
	}
}
