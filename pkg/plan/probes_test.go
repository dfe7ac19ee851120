package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// restartsByProbe carries out a restart that a probe asks for.
func (s *scene) restartsByProbe(t *testing.T) *scene {
	t.Helper()
	stop := For(s.in).Next().(StopContainer)
	require.Equal(t, v1alpha1.TerminationProbeFailed, stop.Cause)
	s.meant(stop, outcome(v1alpha1.OperationSucceeded)).later(time.Second).ends(143).silent().reported()
	require.Equal(t, v1alpha1.TerminationProbeFailed, s.in.Record.Status.LastTermination.Reason)
	s.later(5 * time.Minute)
	start := For(s.in).Next().(StartContainer)
	return s.meant(start, outcome(v1alpha1.OperationSucceeded)).runs().silent().reported()
}

func TestARestartWaitsUntilTheProbeHasFailedForLongEnough(t *testing.T) {
	for _, probe := range judges {
		t.Run(probe, func(t *testing.T) {
			s := probed(probe).spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Probes.RestartAfterSeconds = 60 })
			s.says(probe, succeeding).reported().later(time.Second).says(probe, failing)
			if !restarts(probe) {
				require.Empty(t, verbs(For(s.in)))
				return
			}
			due := s.in.Now.Add(time.Minute)
			for range 2 { // a restart of the manager begins no new count
				require.Equal(t, "Wait StopContainer StartContainer", verbs(For(s.in)))
				checkStatus(t, s.in)
				status := s.reported().in.Record.Status
				require.Equal(t, v1alpha1.ReasonUnhealthy, status.Pending.Reason)
				require.Equal(t, due, status.Pending.NextTry.Time)
				require.Equal(t, v1alpha1.PhaseRunning, status.Phase)
				require.Equal(t, v1alpha1.ReasonProbeFailed, findCondition(status.Conditions, v1alpha1.ConditionReady).Reason)
				s.later(20*time.Second).says(probe, unknown).reported()
				s.later(time.Second).says(probe, failing)
			}
			s.later(time.Minute)
			require.Equal(t, "StopContainer StartContainer", verbs(For(s.in)))
			s.says(probe, succeeding)
			require.Empty(t, verbs(For(s.in)), "it recovered before")
		})
	}
}

func TestAnUnhealthyGameIsMendedMeanwhile(t *testing.T) {
	s := probed(liveness).spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Probes.RestartAfterSeconds, spec.Resources.Pids = 60, 99 })
	require.Equal(t, "UpdateResources", verbs(For(s.says(liveness, failing).in)))
}

func TestAStopForAProbeIsGoneThroughWith(t *testing.T) {
	s := probed(liveness).says(liveness, failing).reported()
	stop := For(s.in).Next().(StopContainer)
	s.meant(stop)
	s.in.InHand = &Work{Action: stop, Operation: "o-1"}
	s.silent().later(time.Second)
	require.Equal(t, "Wait StopContainer StartContainer", verbs(For(s.in)))
	status := s.reported().in.Record.Status
	require.Equal(t, v1alpha1.ReasonStopping, status.Pending.Reason)
	require.Equal(t, metav1.ConditionFalse, findCondition(status.Conditions, v1alpha1.ConditionReady).Status)
	s.spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Probes.RestartAfterSeconds = 600 })
	require.Equal(t, v1alpha1.ReasonStopping, s.reported().in.Record.Status.Pending.Reason, "it is too late for patience")
}

func TestProbesRestartAGameSoManyTimesInARow(t *testing.T) {
	const most = 2
	spent := func(t *testing.T) *scene {
		s := probed(liveness).spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Probes.MaxRestarts = ptr.To[int32](most) }).reported()
		for n := range int32(most) {
			s.later(time.Second).says(liveness, failing)
			checkStatus(t, s.in)
			s.reported().restartsByProbe(t)
			require.Equal(t, n+1, s.in.Record.Status.LastTermination.ByProbeInARow)
		}
		s.later(time.Second).says(liveness, failing)
		return s
	}
	limited := func(t *testing.T, s *scene) {
		t.Helper()
		require.Equal(t, "Wait StopContainer StartContainer", verbs(For(s.in)))
		checkStatus(t, s.in)
		status := s.reported().in.Record.Status
		require.Equal(t, v1alpha1.ReasonProbeRestartLimit, status.Pending.Reason)
		require.Nil(t, status.Pending.NextTry)
		require.Equal(t, v1alpha1.PhaseRunning, status.Phase)
		require.Equal(t, v1alpha1.ReasonProbeRestartLimit, findCondition(status.Conditions, v1alpha1.ConditionProgressing).Reason)
		require.Equal(t, metav1.ConditionFalse, findCondition(status.Conditions, v1alpha1.ConditionHealthy).Status)
	}
	t.Run("it runs on", func(t *testing.T) {
		s := spent(t)
		before := s.in.Record.Status
		limited(t, s)
		told := func(before, after v1alpha1.GameRuntimeStatus) int {
			var n int
			for _, note := range Story(before, after) {
				if note.Reason == v1alpha1.ReasonProbeRestartLimit {
					require.Equal(t, "Warning", note.Type)
					n++
				}
			}
			return n
		}
		require.Equal(t, 1, told(before, s.in.Record.Status))
		before = s.in.Record.Status
		limited(t, s.later(time.Hour)) // however long
		require.Zero(t, told(before, s.in.Record.Status))
	})
	again := func(t *testing.T, s *scene) {
		t.Helper()
		require.Equal(t, "StopContainer StartContainer", verbs(For(s.in)))
		s.restartsByProbe(t)
		require.EqualValues(t, 1, s.in.Record.Status.LastTermination.ByProbeInARow)
	}
	t.Run("until the record changes", func(t *testing.T) {
		s := spent(t).reported()
		again(t, s.spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Backoff.Max.Duration = time.Minute }))
	})
	t.Run("or is told to retry", func(t *testing.T) {
		s := spent(t).reported()
		s.record(func(r *v1alpha1.GameRuntime) { r.Annotations = map[string]string{v1alpha1.AnnotationRetry: "1"} })
		require.Equal(t, "StopContainer StartContainer", verbs(For(s.in)))
		again(t, s.reported())
	})
	t.Run("or ran well for long enough", func(t *testing.T) {
		s := spent(t).says(liveness, succeeding).reported().later(10*time.Minute).says(liveness, failing)
		again(t, s)
	})
	t.Run("never", func(t *testing.T) {
		s := probed(liveness).spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Probes.MaxRestarts = ptr.To[int32](0) })
		limited(t, s.says(liveness, failing))
	})
	t.Run("a crash between does not begin anew", func(t *testing.T) {
		s := probed(liveness).spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Probes.MaxRestarts = ptr.To[int32](1) }).reported()
		s.later(time.Second).says(liveness, failing).reported().restartsByProbe(t)
		s.later(time.Second).ends(1).silent().reported().later(5 * time.Minute).runs().reported()
		limited(t, s.later(time.Second).says(liveness, failing))
	})
}

func TestTheProbeThatFailedFirstIsTheReason(t *testing.T) {
	at := func(s int) *metav1.MicroTime { return microTime(now.Add(time.Duration(s) * time.Second)) }
	health := []v1alpha1.ProbeStatus{
		{Probe: v1alpha1.ProbeInspect, Verdict: failing, FailedAt: at(0)}, {Probe: readiness, Verdict: failing, FailedAt: at(1)},
		{Probe: liveness, Verdict: failing, FailedAt: at(3)}, {Probe: v1alpha1.ProbeProgress, Verdict: failing, FailedAt: at(2)},
	}
	require.Equal(t, v1alpha1.ProbeProgress, failingProbe(health).Probe)
	require.Nil(t, failingProbe(health[:2]))
}
