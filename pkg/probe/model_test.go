package probe

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// model is what the rules say, read plainly: a verdict is worked out anew from all
// that was ever answered.
type model struct {
	kind    string
	check   *v1alpha1.Probe
	number  *v1alpha1.ProgressProbe
	base    string // the verdict that it began with
	since   time.Time
	answers []answerAt
}

type answerAt struct {
	answer
	at time.Time
}

func (m *model) verdict() string { return m.after(len(m.answers)) }

// after says the verdict once n answers were given: the last one to decide it did.
func (m *model) after(n int) string {
	for ; n > 0; n-- {
		if v := m.decided(m.answers[:n]); v != "" {
			return v
		}
	}
	return m.base
}

// decided says what the last of some answers decides; "" if it does not.
func (m *model) decided(answers []answerAt) string {
	if m.number != nil {
		return m.progress(answers)
	}
	var good []bool
	for _, a := range answers {
		good = append(good, a.err == nil)
	}
	switch {
	case lastAre(good, int(m.check.SuccessThreshold), true):
		return v1alpha1.VerdictSucceeding
	case lastAre(good, int(m.check.FailureThreshold), false):
		return v1alpha1.VerdictFailing
	}
	return ""
}

func (m *model) progress(answers []answerAt) string {
	var told []string
	stands, life := answers[0].at, false
	for _, a := range answers {
		life = a.err == nil && (len(told) == 0 || told[len(told)-1] != a.number)
		if life {
			stands = a.at
			told = append(told, a.number)
		}
	}
	if m.base == v1alpha1.VerdictFailing && len(told) == 1 {
		life = false // it may be what it stood at before
	}
	switch {
	case life:
		return v1alpha1.VerdictSucceeding
	case answers[len(answers)-1].at.Sub(stands) >= time.Duration(m.number.WithinSeconds)*time.Second:
		return v1alpha1.VerdictFailing
	}
	return ""
}

// play is a prober whose checks a test begins and ends by hand, and the models of
// its probes.
type play struct {
	*Prober
	clock  *testclock.FakeClock
	target Target
	models []*model
	air    []*flight
	of     map[*flight]*model
	told   int
	tells  int // how often the models say that something is told
}

func newPlay(t *rapid.T) *play {
	s := &play{clock: testclock.NewFakeClock(begin), of: map[*flight]*model{}}
	s.boot()
	s.target = Target{Game: chess, Instance: "0", Address: "10.0.0.1", StartedAt: begin}
	for _, kind := range []string{v1alpha1.ProbeStartup, v1alpha1.ProbeLiveness, v1alpha1.ProbeReadiness} {
		if rapid.Bool().Draw(t, kind) {
			s.declare(kind, drawCheck(t, kind))
		}
	}
	if len(s.models) == 0 || rapid.Bool().Draw(t, "progress") {
		s.target.Probes.Progress = turns()
		s.models = append(s.models, &model{kind: v1alpha1.ProbeProgress, number: s.target.Probes.Progress})
	}
	for _, m := range s.models {
		s.reset(m, v1alpha1.VerdictUnknown, begin)
	}
	s.Watch(s.target, nil)
	return s
}

func (s *play) boot() {
	s.Prober = New(Options{Log: logr.Discard(), Clock: s.clock, OnChange: func(types.NamespacedName) { s.told++ }})
	s.air = nil
}

func drawCheck(t *rapid.T, kind string) *v1alpha1.Probe {
	probe := get("/"+kind, failingAfter(rapid.Int32Range(1, 4).Draw(t, "tolerated")))
	if kind == v1alpha1.ProbeReadiness {
		probe.SuccessThreshold = rapid.Int32Range(1, 4).Draw(t, "needed")
	}
	probe.InitialDelaySeconds = rapid.Int32Range(0, 20).Draw(t, "delay")
	return probe
}

// declare has a check in the target, and its model.
func (s *play) declare(kind string, check *v1alpha1.Probe) {
	switch kind {
	case v1alpha1.ProbeStartup:
		s.target.Probes.Startup = check
	case v1alpha1.ProbeLiveness:
		s.target.Probes.Liveness = check
	case v1alpha1.ProbeReadiness:
		s.target.Probes.Readiness = check
	}
	for _, m := range s.models {
		if m.kind == kind {
			m.check = check
			return
		}
	}
	s.models = append(s.models, &model{kind: kind, check: check})
}

func (s *play) reset(m *model, verdict string, since time.Time) {
	m.base, m.since, m.answers = verdict, since, nil
	for f, of := range s.of {
		if of == m {
			delete(s.of, f) // what it answers is of no interest any more
		}
	}
}

// begin begins the check that is due next.
func (s *play) begin(t *rapid.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l *lane
	for _, lane := range []*lane{&s.brisk, &s.slow} {
		if len(lane.queue) > 0 && (l == nil || lane.queue[0].due.Before(l.queue[0].due)) {
			l = lane
		}
	}
	if l == nil {
		return // all are under way
	}
	if wait := l.queue[0].due.Sub(s.clock.Now()); wait > 0 {
		s.clock.Step(wait)
	}
	f := s.boardLocked(t.Context(), l, s.clock.Now())
	i := slices.IndexFunc(s.models, func(m *model) bool { return m.kind == f.probe.kind })
	m, first := s.models[i], s.models[0]
	if first.kind == v1alpha1.ProbeStartup && (m == first) == (first.verdict() == v1alpha1.VerdictSucceeding) {
		t.Fatalf("the %s probe is asked while startup is %s", m.kind, first.verdict())
	}
	if s.clock.Now().Before(s.target.StartedAt.Add(f.probe.delay)) {
		t.Fatalf("the %s probe is asked before its delay is over", m.kind)
	}
	for other, of := range s.of {
		if of == m {
			t.Fatalf("the %s probe is asked twice at once: %v", m.kind, other.target)
		}
	}
	s.air, s.of[f] = append(s.air, f), m
}

// end ends one of the checks under way.
func (s *play) end(t *rapid.T) {
	if len(s.air) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.air)-1).Draw(t, "which")
	f := s.air[i]
	s.air = slices.Delete(s.air, i, i+1)
	s.clock.Step(time.Duration(rapid.IntRange(0, 15).Draw(t, "took")) * time.Second)
	if rapid.Bool().Draw(t, "late") {
		s.overstay(f)
	}
	a := answer{number: fmt.Sprint(rapid.IntRange(1, 2).Draw(t, "number"))}
	if rapid.Bool().Draw(t, "fails") {
		a = answer{err: errors.New("no")}
	}
	if m := s.of[f]; m != nil {
		before := m.verdict()
		m.answers = append(m.answers, answerAt{a, s.clock.Now()})
		if m.verdict() != before {
			m.since = s.clock.Now()
			s.tells++
		}
		delete(s.of, f)
	}
	f.cancel()
	s.land(f, a, false)
}

// again has a prober begin with the verdicts of the one before, or of itself.
func (s *play) again(boot bool) {
	recorded := s.Results(chess, s.target.Instance)
	if boot {
		s.boot()
	} else {
		s.Forget(chess)
	}
	s.clock.Step(time.Second)
	s.Watch(s.target, recorded)
	for _, m := range s.models {
		s.reset(m, m.verdict(), m.since)
	}
}

func (s *play) agree(t *rapid.T) {
	results := s.Results(chess, s.target.Instance)
	if len(results) != len(s.models) {
		t.Fatalf("%d results, want %d", len(results), len(s.models))
	}
	for i, m := range s.models {
		r := results[i]
		if r.Probe != m.kind || r.Verdict != m.verdict() || !r.Since.Time.Equal(m.since) {
			t.Fatalf("%+v since %s\nwant %s %s since %s after %v", r, r.Since, m.kind, m.verdict(), m.since, m.answers)
		}
		if failing := r.Verdict == v1alpha1.VerdictFailing; failing != (r.FailedAt != nil) || failing && !r.FailedAt.Equal(r.Since) {
			t.Fatalf("%s since %s failed at %s", r.Verdict, r.Since, r.FailedAt)
		}
	}
	if s.told != s.tells {
		t.Fatalf("told %d times, want %d", s.told, s.tells)
	}
}

// TestVerdictsFollowTheRules compares the prober with the model over anything that
// may come between answers: hangs, edits, restarts of the manager and of the game,
// stops that failed.
func TestVerdictsFollowTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newPlay(t)
		defer func() {
			for f := range s.flights {
				f.cancel()
			}
		}()
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 40).Draw(t, "step") {
			case 0:
				s.again(true)
			case 1:
				s.again(false)
			case 2:
				s.target.Address += "1"
				s.Watch(s.target, s.Results(chess, s.target.Instance))
			case 3:
				m := s.models[rapid.IntRange(0, len(s.models)-1).Draw(t, "edited")]
				if m.check != nil {
					edited := *m.check
					edited.TimeoutSeconds++
					s.declare(m.kind, &edited)
					s.reset(m, v1alpha1.VerdictUnknown, s.clock.Now())
					s.Watch(s.target, nil)
				}
			case 4:
				s.target.Instance, s.target.StartedAt = s.target.Instance+"1", s.clock.Now()
				for _, m := range s.models {
					s.reset(m, v1alpha1.VerdictUnknown, s.clock.Now())
				}
				s.Watch(s.target, nil)
			default:
				if rapid.Bool().Draw(t, "begins") || len(s.air) == 0 {
					s.begin(t)
				} else {
					s.end(t)
				}
			}
			s.agree(t)
		}
	})
}

// TestFlappingFasterThanTheThresholdsTellsNothing has answers change as often as
// they can without any of them being given as often as a verdict wants.
func TestFlappingFasterThanTheThresholdsTellsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		needed, tolerated := rapid.IntRange(2, 5).Draw(t, "needed"), rapid.IntRange(2, 5).Draw(t, "tolerated")
		was := rapid.SampledFrom([]string{v1alpha1.VerdictUnknown, v1alpha1.VerdictSucceeding, v1alpha1.VerdictFailing}).Draw(t, "was")
		pr := &probe{judge: &tally{needed: int32(needed), tolerated: int32(tolerated)}, verdict: was}
		for range rapid.IntRange(1, 20).Draw(t, "flaps") {
			for range rapid.IntRange(1, tolerated-1).Draw(t, "failures") {
				if pr.take(answer{err: errors.New("no")}, begin) {
					t.Fatalf("became %s", pr.verdict)
				}
			}
			for range rapid.IntRange(1, needed-1).Draw(t, "successes") {
				if pr.take(answer{}, begin) {
					t.Fatalf("became %s", pr.verdict)
				}
			}
		}
	})
}
