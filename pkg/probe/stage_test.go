package probe

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// begin is when tests on a fake clock do.
var begin = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

var chess = types.NamespacedName{Namespace: "default", Name: "chess"}

// stage is a prober on a fake clock whose checks answer as a test says.
type stage struct {
	*Prober
	t       *testing.T
	clock   *testclock.FakeClock
	changed chan types.NamespacedName
	checked chan string // the path of each check, as it is made

	mu      sync.Mutex
	answers map[string]error         // by path
	number  string                   // that a progress probe is told
	hold    map[string]chan struct{} // checks that wait
}

func newStage(t *testing.T, workers int) *stage {
	s := &stage{
		t: t, clock: testclock.NewFakeClock(begin),
		changed: make(chan types.NamespacedName, 100), checked: make(chan string, 100),
		answers: map[string]error{}, hold: map[string]chan struct{}{},
	}
	s.Prober = New(Options{
		Log: logr.Discard(), Clock: s.clock, Workers: workers, Check: s.check, Measure: s.measure,
		OnChange: func(name types.NamespacedName) { s.changed <- name },
	})
	s.spread = func(period time.Duration) time.Duration { return period } // nobody comes apart
	runs(t, s.Prober)
	return s
}

// runs runs a prober for as long as the test.
func runs(t testing.TB, p *Prober) { t.Cleanup(start(p)) }

// start runs a prober until it is stopped.
func start(p *Prober) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			panic(err) // it never returns one
		}
	}
}

func (s *stage) check(ctx context.Context, _ Target, spec v1alpha1.Probe) error {
	path := spec.HTTPGet.Path
	s.mu.Lock()
	answer, hold := s.answers[path], s.hold[path]
	s.mu.Unlock()
	s.checked <- path
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return answer
}

func (s *stage) measure(ctx context.Context, target Target, spec v1alpha1.ProgressProbe) (string, error) {
	err := s.check(ctx, target, v1alpha1.Probe{HTTPGet: &spec.HTTPGet})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number, err
}

// get is a probe of a path, every ten seconds and up to three failures.
func get(path string, change ...func(*v1alpha1.Probe)) *v1alpha1.Probe {
	p := &v1alpha1.Probe{
		HTTPGet: &v1alpha1.HTTPGetAction{Path: path, Port: 8080}, PeriodSeconds: 10, TimeoutSeconds: 60, SuccessThreshold: 1, FailureThreshold: 3,
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func failingAfter(n int32) func(*v1alpha1.Probe) {
	return func(p *v1alpha1.Probe) { p.FailureThreshold = n }
}

func delayedBy(seconds int32) func(*v1alpha1.Probe) {
	return func(p *v1alpha1.Probe) { p.InitialDelaySeconds = seconds }
}

// watch watches a run of chess that starts now.
func (s *stage) watch(instance string, probes v1alpha1.Probes) {
	s.Watch(s.target(instance, probes), nil)
}

func (s *stage) target(instance string, probes v1alpha1.Probes) Target {
	return Target{Game: chess, Instance: instance, Address: "10.0.0.1", StartedAt: s.clock.Now(), Probes: probes}
}

func (s *stage) answer(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = err
}

// hang makes checks of a path wait until release.
func (s *stage) hang(path string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold[path] = hold
	return func() { close(hold) }
}

// await waits for the next checks, which must be of these paths.
func (s *stage) await(paths ...string) {
	s.t.Helper()
	var got []string
	for range paths {
		got = append(got, awaitOne(s.t, s.checked))
	}
	require.ElementsMatch(s.t, paths, got)
}

// awaitChange waits until a verdict is told.
func (s *stage) awaitChange() {
	s.t.Helper()
	require.Equal(s.t, chess, awaitOne(s.t, s.changed))
}

func awaitOne[T any](t *testing.T, values <-chan T) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

// scheduled says in how many seconds each probe in the schedule is due.
func (s *stage) scheduled() map[string]float64 {
	s.Prober.mu.Lock()
	defer s.Prober.mu.Unlock()
	due := map[string]float64{}
	for _, pr := range append(slices.Clone(s.brisk.queue), s.slow.queue...) {
		due[path(pr.question)] = pr.due.Sub(s.clock.Now()).Seconds()
	}
	return due
}

func path(q question) string {
	if q.progress != nil {
		return q.progress.HTTPGet.Path
	}
	return q.check.HTTPGet.Path
}

// awaitScheduled waits until the schedule is this, and the scheduler waits.
func (s *stage) awaitScheduled(want map[string]float64) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		assert.Equal(c, want, s.scheduled())
		assert.True(c, s.clock.HasWaiters())
	}, patience, time.Millisecond)
}

// elapse lets time pass, between two looks of the scheduler at the clock.
func (s *stage) elapse(d time.Duration) { elapse(s.Prober, s.clock, d) }

func elapse(p *Prober, clock *testclock.FakeClock, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clock.Step(d)
}

// step lets ten seconds pass, after which a path is checked.
func (s *stage) step(path string) {
	s.t.Helper()
	s.awaitScheduled(map[string]float64{path: 10})
	s.elapse(10 * time.Second)
	s.await(path)
}

func (s *stage) verdicts(instance string) map[string]string {
	all := map[string]string{}
	for _, r := range s.Results(chess, instance) {
		all[r.Probe] = r.Verdict
	}
	return all
}
