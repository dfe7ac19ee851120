package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var chess = types.NamespacedName{Namespace: "default", Name: "chess"}

// stage is a prober on a fake clock whose checks answer as a test says.
type stage struct {
	*Prober
	t       *testing.T
	clock   *testclock.FakeClock
	changed chan types.NamespacedName
	checked chan string // the path of each check, as it is made

	mu      sync.Mutex
	answers map[string]error // by path
}

func newStage(t *testing.T) *stage {
	s := &stage{
		t: t, clock: testclock.NewFakeClock(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)),
		changed: make(chan types.NamespacedName, 100), checked: make(chan string, 100), answers: map[string]error{},
	}
	s.Prober = New(Options{
		Log: logr.Discard(), Clock: s.clock, Workers: 2,
		OnChange: func(name types.NamespacedName) { s.changed <- name },
		Check: func(_ context.Context, _ string, spec v1alpha1.Probe) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.checked <- spec.HTTPGet.Path
			return s.answers[spec.HTTPGet.Path]
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s
}

func get(path string, change func(*v1alpha1.Probe)) *v1alpha1.Probe {
	p := &v1alpha1.Probe{
		HTTPGet: &v1alpha1.HTTPGetAction{Path: path, Port: 8080}, PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3,
	}
	if change != nil {
		change(p)
	}
	return p
}

func (s *stage) watch(instance string, probes v1alpha1.Probes) {
	s.Watch(Target{Game: chess, Instance: instance, Address: "10.0.0.1", StartedAt: s.clock.Now(), Probes: probes})
}

func (s *stage) answer(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = err
}

// await waits for the next check, which must be of a path.
func (s *stage) await(path string) {
	s.t.Helper()
	select {
	case got := <-s.checked:
		require.Equal(s.t, path, got)
	case <-time.After(10 * time.Second):
		s.t.Fatalf("no check of %s", path)
	}
}

// step lets time pass until the next check, once the scheduler waits for it.
func (s *stage) step(d time.Duration, path string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		s.Prober.mu.Lock()
		defer s.Prober.mu.Unlock()
		return s.clock.HasWaiters() && len(s.queue) > 0
	}, 10*time.Second, time.Millisecond)
	s.clock.Step(d)
	s.await(path)
}

func (s *stage) verdicts(instance string) map[string]string {
	all := map[string]string{}
	for _, r := range s.Results(chess, instance) {
		all[r.Probe] = r.Verdict
	}
	return all
}

func (s *stage) awaitChange() {
	s.t.Helper()
	select {
	case name := <-s.changed:
		require.Equal(s.t, chess, name)
	case <-time.After(10 * time.Second):
		s.t.Fatal("no verdict changed")
	}
}

func TestReadiness(t *testing.T) {
	s := newStage(t)
	probes := v1alpha1.Probes{Readiness: get("/ready", nil)}
	s.watch("run-1", probes)
	s.await("/ready")
	s.awaitChange()
	require.Equal(t, map[string]string{"readiness": "Succeeding"}, s.verdicts("run-1"))

	s.answer("/ready", errors.New("status 500"))
	for range 3 {
		s.step(10*time.Second, "/ready")
	}
	s.awaitChange()
	require.Equal(t, map[string]string{"readiness": "Failing"}, s.verdicts("run-1"))
	require.Equal(t, "status 500", s.Results(chess, "run-1")[0].Message)

	s.answer("/ready", nil)
	s.step(10*time.Second, "/ready")
	s.awaitChange()
	require.Equal(t, map[string]string{"readiness": "Succeeding"}, s.verdicts("run-1"))
	require.Empty(t, s.changed, "nothing but a change of the verdict is told")

	require.Empty(t, s.verdicts("run-2"), "a verdict belongs to one run")
	s.watch("run-1", probes)
	s.Forget(chess)
	require.Empty(t, s.verdicts("run-1"))
}

func TestStartupHoldsTheOthersBack(t *testing.T) {
	s := newStage(t)
	s.answer("/start", errors.New("not yet"))
	s.watch("run-1", v1alpha1.Probes{
		Startup: get("/start", func(p *v1alpha1.Probe) { p.FailureThreshold = 10 }), Liveness: get("/live", nil), Readiness: get("/ready", nil),
	})
	s.await("/start")
	for range 3 {
		s.step(10*time.Second, "/start")
	}
	require.Equal(t, map[string]string{"startup": "Unknown", "liveness": "Unknown", "readiness": "Unknown"}, s.verdicts("run-1"))
	s.answer("/start", nil)
	s.step(10*time.Second, "/start")
	first, second := <-s.checked, <-s.checked // at once, not a period later
	require.ElementsMatch(t, []string{"/live", "/ready"}, []string{first, second})
}

func TestLivenessThatFailedStaysFailed(t *testing.T) {
	s := newStage(t)
	s.answer("/live", errors.New("dead"))
	s.watch("run-1", v1alpha1.Probes{Liveness: get("/live", func(p *v1alpha1.Probe) { p.FailureThreshold = 1 })})
	s.await("/live")
	s.awaitChange()
	require.Equal(t, map[string]string{"liveness": "Failing"}, s.verdicts("run-1"))
	s.answer("/live", nil)
	s.Prober.mu.Lock()
	require.Empty(t, s.queue, "it is not asked again")
	s.Prober.mu.Unlock()
	s.watch("run-2", v1alpha1.Probes{Liveness: get("/live", nil)})
	s.await("/live")
	s.awaitChange()
	require.Equal(t, map[string]string{"liveness": "Succeeding"}, s.verdicts("run-2"), "a new run starts afresh")
}

func TestInitialDelay(t *testing.T) {
	s := newStage(t)
	s.watch("run-1", v1alpha1.Probes{Readiness: get("/ready", func(p *v1alpha1.Probe) { p.InitialDelaySeconds = 30 })})
	s.Prober.mu.Lock()
	require.Equal(t, 30*time.Second, s.queue[0].due.Sub(s.clock.Now()))
	s.Prober.mu.Unlock()
	s.step(30*time.Second, "/ready")
}

// TestThresholds compares the tally with the plain reading of the rule: a
// verdict is what the last needed successes, or tolerated failures, agree on.
func TestThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		needed, tolerated := rapid.Int32Range(1, 4).Draw(t, "needed"), rapid.Int32Range(1, 4).Draw(t, "tolerated")
		answers := rapid.SliceOfN(rapid.Bool(), 1, 50).Draw(t, "answers")
		y := newTally(v1alpha1.ProbeReadiness, v1alpha1.Probe{SuccessThreshold: needed, FailureThreshold: tolerated})
		want := v1alpha1.VerdictUnknown
		lastAre := func(upTo int, n int32, what bool) bool {
			if upTo < int(n) {
				return false
			}
			for _, a := range answers[upTo-int(n) : upTo] {
				if a != what {
					return false
				}
			}
			return true
		}
		for i, a := range answers {
			before := want
			if lastAre(i+1, needed, true) {
				want = v1alpha1.VerdictSucceeding
			} else if lastAre(i+1, tolerated, false) {
				want = v1alpha1.VerdictFailing
			}
			if changed := y.count(a); changed != (before != want) || y.verdict != want {
				t.Fatalf("after %v: %s, want %s", answers[:i+1], y.verdict, want)
			}
		}
	})
}

func TestChecks(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(code)
	}))
	defer web.Close()
	host, text, err := net.SplitHostPort(web.Listener.Addr().String())
	require.NoError(t, err)
	n, err := strconv.ParseInt(text, 10, 32)
	require.NoError(t, err)
	port := int32(n)
	ask := func(path string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		return check(ctx, host, v1alpha1.Probe{HTTPGet: &v1alpha1.HTTPGetAction{Path: path, Port: port}})
	}
	for _, good := range []string{"/200", "/204", "/301", "/399"} {
		require.NoError(t, ask(good), good)
	}
	for _, bad := range []string{"/400", "/404", "/500", "/503"} {
		require.ErrorContains(t, ask(bad), bad[1:])
	}
	require.EqualError(t, ask("/hangs"), "no answer in time")
	require.NoError(t, check(context.Background(), host, v1alpha1.Probe{TCPSocket: &v1alpha1.TCPSocketAction{Port: port}}))
	require.Error(t, check(context.Background(), host, v1alpha1.Probe{TCPSocket: &v1alpha1.TCPSocketAction{Port: 1}}))
}
