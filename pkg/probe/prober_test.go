package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

func TestReadinessComesAndGoes(t *testing.T) {
	s := newStage(t, 2)
	begin := s.clock.Now()
	s.watch("run-1", v1alpha1.Probes{Readiness: get("/ready")})
	s.await("/ready")
	s.awaitChange()
	require.Equal(t, map[string]string{"readiness": "Succeeding"}, s.verdicts("run-1"))

	s.answer("/ready", errors.New("status 500"))
	s.step("/ready")
	s.answer("/ready", errors.New("status 502"))
	s.step("/ready")
	s.awaitScheduled(map[string]float64{"/ready": 10})
	require.Equal(t, map[string]string{"readiness": "Succeeding"}, s.verdicts("run-1"), "two failures are tolerated")
	s.step("/ready")
	s.awaitChange()
	failing := s.Results(chess, "run-1")[0]
	require.Equal(t, "Failing", failing.Verdict)
	require.Equal(t, "status 502", failing.Message)
	require.Equal(t, begin.Add(30*time.Second), failing.Since.Time)

	s.answer("/ready", errors.New("status 503"))
	s.step("/ready")
	s.awaitScheduled(map[string]float64{"/ready": 10})
	require.Equal(t, failing, s.Results(chess, "run-1")[0], "another message alone is no change")

	s.answer("/ready", nil)
	s.step("/ready")
	s.awaitChange()
	require.Equal(t, map[string]string{"readiness": "Succeeding"}, s.verdicts("run-1"))
	require.Empty(t, s.Results(chess, "run-1")[0].Message)
	require.Empty(t, s.changed, "only a change of the verdict is told")

	counted := func(of *prometheus.CounterVec, what string) float64 {
		return testutil.ToFloat64(of.WithLabelValues(v1alpha1.ProbeReadiness, what))
	}
	require.InDelta(t, 2, counted(s.metrics.checks, "succeeded"), 0)
	require.InDelta(t, 4, counted(s.metrics.checks, "failed"), 0)
	require.InDelta(t, 2, counted(s.metrics.verdicts, v1alpha1.VerdictSucceeding), 0)
	require.InDelta(t, 1, counted(s.metrics.verdicts, v1alpha1.VerdictFailing), 0)
}

func TestVerdictsAreUnknownAtFirst(t *testing.T) {
	s := newStage(t, 2)
	s.watch("run-1", v1alpha1.Probes{Readiness: get("/ready", delayedBy(30)), Liveness: get("/live", delayedBy(40))})
	var order []string
	for _, r := range s.Results(chess, "run-1") {
		require.Equal(t, v1alpha1.VerdictUnknown, r.Verdict)
		order = append(order, r.Probe)
	}
	require.Equal(t, []string{v1alpha1.ProbeLiveness, v1alpha1.ProbeReadiness}, order, "only those that are configured")
	s.awaitScheduled(map[string]float64{"/ready": 30, "/live": 40})
	s.elapse(30 * time.Second)
	s.await("/ready")
}

func TestStartupHoldsTheOthersBack(t *testing.T) {
	s := newStage(t, 2)
	s.answer("/start", errors.New("not yet"))
	s.watch("run-1", v1alpha1.Probes{
		Startup: get("/start", failingAfter(10)), Liveness: get("/live", delayedBy(60)), Readiness: get("/ready", delayedBy(5)),
	})
	s.await("/start")
	s.step("/start")
	s.step("/start")
	require.Equal(t, map[string]string{"startup": "Unknown", "liveness": "Unknown", "readiness": "Unknown"}, s.verdicts("run-1"))
	s.answer("/start", nil)
	s.step("/start")
	s.awaitChange()
	s.await("/ready") // at once, not a period later
	s.awaitChange()
	s.awaitScheduled(map[string]float64{"/live": 30, "/ready": 10}) // its delay counts from the start; the startup probe is over
	require.Equal(t, map[string]string{"startup": "Succeeding", "liveness": "Unknown", "readiness": "Succeeding"}, s.verdicts("run-1"))
}

func TestAProbeThatFailedIsAskedOn(t *testing.T) {
	for name, probes := range map[string]v1alpha1.Probes{
		v1alpha1.ProbeLiveness: {Liveness: get("/fails", failingAfter(1))},
		v1alpha1.ProbeStartup:  {Startup: get("/fails", failingAfter(1)), Readiness: get("/ready")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 2)
			begin := s.clock.Now()
			s.answer("/fails", errors.New("dead"))
			s.watch("run-1", probes)
			s.await("/fails")
			s.awaitChange()
			failing := s.Results(chess, "run-1")[0]
			require.Equal(t, v1alpha1.VerdictFailing, failing.Verdict)
			require.Equal(t, begin, failing.FailedAt.Time)
			s.answer("/fails", nil)
			s.step("/fails")
			s.awaitChange()
			recovered := s.Results(chess, "run-1")[0]
			require.Equal(t, v1alpha1.VerdictSucceeding, recovered.Verdict, "it may recover before anything is done about it")
			require.Nil(t, recovered.FailedAt)
		})
	}
}

func TestAVerdictBelongsToOneRun(t *testing.T) {
	s := newStage(t, 1) // so that the second run's check follows the first one's answer
	release := s.hang("/late")
	s.answer("/late", errors.New("dead"))
	s.watch("run-1", v1alpha1.Probes{Liveness: get("/late", failingAfter(1))})
	s.await("/late")
	s.watch("run-2", v1alpha1.Probes{Liveness: get("/live")})
	release()
	s.await("/live")
	s.awaitChange()
	require.Equal(t, map[string]string{"liveness": "Succeeding"}, s.verdicts("run-2"))
	require.Empty(t, s.Results(chess, "run-1"))
	require.Empty(t, s.changed, "nobody is told what a run that is over answered")
	s.awaitScheduled(map[string]float64{"/live": 10})
}

func TestTheSameTargetChangesNothing(t *testing.T) {
	s := newStage(t, 2)
	target := s.target("run-1", v1alpha1.Probes{Readiness: get("/ready")})
	s.Watch(target, nil)
	s.await("/ready")
	s.awaitChange()
	s.awaitScheduled(map[string]float64{"/ready": 10})
	s.elapse(4 * time.Second)
	again := target
	again.Address = "10.0.0.2" // its network was connected anew
	again.Probes.Readiness = get("/ready", func(p *v1alpha1.Probe) {
		p.SuccessThreshold, p.FailureThreshold = 0, 0 // as in a record from before they had defaults
		p.HTTPGet.Scheme, p.HTTPGet.HTTPHeaders = "HTTP", []v1alpha1.HTTPHeader{}
	})
	s.Watch(again, []v1alpha1.ProbeStatus{{Probe: v1alpha1.ProbeReadiness, Verdict: v1alpha1.VerdictFailing, Since: &metav1.MicroTime{}}})
	require.Equal(t, map[string]float64{"/ready": 6}, s.scheduled())
	require.Equal(t, map[string]string{"readiness": "Succeeding"}, s.verdicts("run-1"))
	s.Forget(chess)
	require.Empty(t, s.scheduled())
	require.Empty(t, s.Results(chess, "run-1"))
}

func TestAnEditStartsThatProbeAfresh(t *testing.T) {
	s := newStage(t, 2)
	target := s.target("run-1", v1alpha1.Probes{Startup: get("/start"), Liveness: get("/live"), Readiness: get("/ready")})
	s.Watch(target, nil)
	s.await("/start", "/live", "/ready")
	for range 3 {
		s.awaitChange()
	}
	s.awaitScheduled(map[string]float64{"/live": 10, "/ready": 10})

	s.answer("/ready/2", errors.New("not ready"))
	target.Probes.Readiness = get("/ready/2")
	s.Watch(target, nil)
	s.await("/ready/2")
	s.awaitScheduled(map[string]float64{"/live": 10, "/ready/2": 10})
	require.Equal(t, map[string]string{"startup": "Succeeding", "liveness": "Succeeding", "readiness": "Unknown"}, s.verdicts("run-1"))

	s.answer("/start/2", errors.New("not yet"))
	target.Probes.Startup = get("/start/2")
	s.Watch(target, nil)
	s.await("/start/2")
	s.awaitScheduled(map[string]float64{"/start/2": 10})
	require.Equal(t, map[string]string{"startup": "Unknown", "liveness": "Succeeding", "readiness": "Unknown"}, s.verdicts("run-1"))

	target.Probes = v1alpha1.Probes{Liveness: get("/live")}
	s.Watch(target, nil)
	s.awaitScheduled(map[string]float64{"/live": 10}) // it is held back by nothing any more
	require.Equal(t, map[string]string{"liveness": "Succeeding"}, s.verdicts("run-1"))
}

func TestVerdictsSurviveAManager(t *testing.T) {
	s := newStage(t, 2)
	begin := metav1.NewMicroTime(s.clock.Now().Add(-time.Hour))
	recorded := []v1alpha1.ProbeStatus{
		{Probe: v1alpha1.ProbeStartup, Verdict: v1alpha1.VerdictSucceeding, Since: &begin},
		{Probe: v1alpha1.ProbeLiveness, Verdict: v1alpha1.VerdictFailing, Message: "dead", Since: &begin, FailedAt: &begin},
		{Probe: v1alpha1.ProbeReadiness, Verdict: v1alpha1.VerdictSucceeding, Since: &begin},
		{Probe: v1alpha1.ProbeInspect, Verdict: v1alpha1.VerdictSucceeding, Since: &begin},
	}
	s.answer("/live", errors.New("dead"))
	s.Watch(s.target("run-1", v1alpha1.Probes{Startup: get("/start"), Liveness: get("/live"), Readiness: get("/ready")}), recorded)
	require.Equal(t, recorded[:3], s.Results(chess, "run-1"))
	s.awaitScheduled(map[string]float64{"/live": 10, "/ready": 10}) // the start is over
	s.elapse(10 * time.Second)
	s.await("/live", "/ready")
	s.awaitScheduled(map[string]float64{"/live": 10, "/ready": 10})
	require.Equal(t, recorded[:3], s.Results(chess, "run-1"))
	require.Empty(t, s.changed, "nothing is told anew")
	s.answer("/live", nil)
	s.elapse(10 * time.Second)
	s.awaitChange()
	require.Equal(t, map[string]string{"startup": "Succeeding", "liveness": "Succeeding", "readiness": "Succeeding"}, s.verdicts("run-1"))
}

func TestNothingIsUnderWayAfterQuiesce(t *testing.T) {
	s := newStage(t, 3)
	release := s.hang("/exec")
	defer s.hang("/live")()
	probes := v1alpha1.Probes{Liveness: get("/live"), Readiness: get("/exec", func(p *v1alpha1.Probe) { p.Exec = &v1alpha1.ExecAction{Command: []string{"/check"}} })}
	s.watch("run-1", probes)
	s.await("/live", "/exec")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s.Quiesce(ctx, chess)
	require.Error(t, ctx.Err(), "a program is waited for")
	require.Equal(t, []string{"/exec"}, s.underWay(), "the other check was broken off")
	require.Empty(t, s.Results(chess, "run-1"))

	done := make(chan struct{})
	go func() { s.Quiesce(t.Context(), chess); close(done) }()
	release()
	awaitOne(t, done)
	require.Empty(t, s.underWay())
	require.Empty(t, s.scheduled())
	s.Quiesce(t.Context(), chess) // nothing is left to wait for
	require.Empty(t, s.changed)
}

func (s *stage) underWay() (paths []string) {
	s.Prober.mu.Lock()
	defer s.Prober.mu.Unlock()
	for f := range s.flights {
		paths = append(paths, path(f.probe.question))
	}
	return paths
}

func TestAGameWithoutAnAddressFails(t *testing.T) {
	s := newStage(t, 1)
	target := s.target("run-1", v1alpha1.Probes{Liveness: get("/live", failingAfter(1))})
	target.Address = ""
	s.Watch(target, nil)
	s.awaitChange()
	require.Equal(t, "the game has no address", s.Results(chess, "run-1")[0].Message)
	require.Empty(t, s.checked, "whatever listens on this host is not the game")
}

func TestACheckThatHangsDelaysNobody(t *testing.T) {
	s := newStage(t, 2)
	defer s.hang("/hangs")()
	s.watch("run-1", v1alpha1.Probes{Liveness: get("/hangs"), Readiness: get("/ready")})
	s.await("/hangs", "/ready")
	s.step("/ready")
	s.step("/ready")
}

// TestManyGamesAtOnce is for the race detector: games come, change, and go
// while they are probed.
func TestManyGamesAtOnce(t *testing.T) {
	const games = 50
	told := make(chan types.NamespacedName, 10*games)
	p := New(Options{
		Log:      logr.Discard(),
		Check:    func(context.Context, Target, v1alpha1.Probe) error { return nil },
		OnChange: func(name types.NamespacedName) { told <- name },
	})
	runs(t, p)
	var all sync.WaitGroup
	for i := range games {
		all.Go(func() {
			name := types.NamespacedName{Name: fmt.Sprint(i)}
			for run := range 3 {
				probes := v1alpha1.Probes{Startup: get("/start"), Readiness: get("/ready")}
				p.Watch(Target{Game: name, Address: "10.0.0.1", Instance: fmt.Sprint(run), StartedAt: time.Now(), Probes: probes}, nil)
				p.Results(name, "0")
			}
			if i%2 == 1 {
				p.Forget(name)
			}
		})
	}
	all.Wait()
	ready := func() (n int) {
		for i := range games {
			for _, r := range p.Results(types.NamespacedName{Name: fmt.Sprint(i)}, "2") {
				if r.Probe == v1alpha1.ProbeReadiness && r.Verdict == v1alpha1.VerdictSucceeding {
					n++
				}
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return ready() == games/2 }, patience, time.Millisecond)
	for range games { // two verdicts on each game that stayed
		awaitOne(t, told)
	}
}

func TestASlowCheckDoesNotShiftTheSchedule(t *testing.T) {
	s := newStage(t, 1)
	s.watch("run-1", v1alpha1.Probes{Readiness: get("/slow")})
	s.await("/slow")
	s.awaitScheduled(map[string]float64{"/slow": 10})
	release := s.hang("/slow")
	s.elapse(10 * time.Second)
	s.await("/slow")
	s.elapse(4 * time.Second)
	release()
	s.awaitScheduled(map[string]float64{"/slow": 6})

	release = s.hang("/slow")
	s.elapse(6 * time.Second)
	s.await("/slow")
	s.elapse(25 * time.Second)
	release()
	s.await("/slow") // at once, for the checks it was late for all together
	s.awaitScheduled(map[string]float64{"/slow": 5})
}

func TestACheckThatWeBreakOffTellsNothing(t *testing.T) {
	checking := make(chan struct{})
	p := New(Options{
		Log: logr.Discard(),
		Check: func(ctx context.Context, _ Target, _ v1alpha1.Probe) error {
			close(checking)
			<-ctx.Done()
			return ctx.Err()
		},
	})
	p.Watch(Target{Game: chess, Address: "10.0.0.1", Instance: "run-1", StartedAt: time.Now(), Probes: v1alpha1.Probes{Liveness: get("/live", failingAfter(1))}}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	awaitOne(t, checking)
	cancel()
	require.NoError(t, awaitOne(t, done))
	require.Equal(t, v1alpha1.VerdictUnknown, p.Results(chess, "run-1")[0].Verdict)
}
