package probe

import (
	"container/heap"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// game is a target and the probes on it, in the order of Results.
type game struct {
	target Target
	probes []*probe
}

// probe is one of up to four, and what is known by it of one instance.
type probe struct {
	game *game
	question
	judge   judge
	verdict string
	message string
	since   time.Time

	due     time.Time
	lane    *lane   // that it waits in, or is checked in next
	index   int     // in the lane's queue; -1 when not in it
	flight  *flight // its check that is under way; nil if none is
	retired bool    // its answers are of no interest any more
}

// question is what a probe asks, and how often: of a check or for a number.
// Defaults are filled in.
type question struct {
	kind     string
	check    *v1alpha1.Probe
	progress *v1alpha1.ProgressProbe

	delay, period, timeout time.Duration
}

// answer is what came of one check: an error, or of a progress probe a number.
type answer struct {
	number string
	err    error
}

// judge makes one verdict of many answers.
type judge interface {
	// weigh takes an answer, and returns the verdict that follows on the one so
	// far, and what there is to say of one that is new.
	weigh(verdict string, a answer, now time.Time) (next, message string)
}

// questions are those that a record declares, in the order of Results.
func questions(probes v1alpha1.Probes) []question {
	var all []question
	for _, declared := range []struct {
		kind string
		spec *v1alpha1.Probe
	}{
		{v1alpha1.ProbeStartup, probes.Startup},
		{v1alpha1.ProbeLiveness, probes.Liveness},
		{v1alpha1.ProbeReadiness, probes.Readiness},
	} {
		if declared.spec != nil {
			all = append(all, newQuestion(declared.kind, *declared.spec))
		}
	}
	if p := probes.Progress; p != nil {
		all = append(all, newProgressQuestion(*p))
	}
	return all
}

func newQuestion(kind string, spec v1alpha1.Probe) question {
	rhythm(&spec.PeriodSeconds, &spec.TimeoutSeconds)
	orElse(&spec.FailureThreshold, 3)
	orElse(&spec.SuccessThreshold, 1)
	if kind != v1alpha1.ProbeReadiness {
		spec.SuccessThreshold = 1 // more would make no sense: Kubernetes allows no other value
	}
	if spec.HTTPGet != nil {
		get := defaulted(*spec.HTTPGet)
		spec.HTTPGet = &get
	}
	return question{
		kind: kind, check: &spec,
		delay: seconds(spec.InitialDelaySeconds), period: seconds(spec.PeriodSeconds), timeout: seconds(spec.TimeoutSeconds),
	}
}

// runsProgram says that the engine is asked to run a program in the container.
func (q question) runsProgram() bool { return q.check != nil && q.check.Exec != nil }

func newProgressQuestion(spec v1alpha1.ProgressProbe) question {
	rhythm(&spec.PeriodSeconds, &spec.TimeoutSeconds)
	spec.HTTPGet = defaulted(spec.HTTPGet)
	return question{
		kind: v1alpha1.ProbeProgress, progress: &spec,
		delay: seconds(spec.InitialDelaySeconds), period: seconds(spec.PeriodSeconds), timeout: seconds(spec.TimeoutSeconds),
	}
}

// rhythm, orElse and defaulted fill in what the API server fills in: a record
// that was stored before a field had a default asks no other question than one
// that was stored after.
func rhythm(period, timeout *int32) {
	orElse(period, 10)
	orElse(timeout, 1)
}

func orElse(n *int32, otherwise int32) {
	if *n <= 0 {
		*n = otherwise
	}
}

func defaulted(get v1alpha1.HTTPGetAction) v1alpha1.HTTPGetAction {
	if get.Path == "" {
		get.Path = "/"
	}
	if get.Scheme == "" {
		get.Scheme = "HTTP"
	}
	return get
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// sameQuestion finds the probe that asks this already; nil if none does.
func sameQuestion(probes []*probe, q question) *probe {
	for _, pr := range probes {
		if pr.kind == q.kind && equality.Semantic.DeepEqual(pr.check, q.check) && equality.Semantic.DeepEqual(pr.progress, q.progress) {
			return pr
		}
	}
	return nil
}

func newProbe(g *game, q question, now time.Time) *probe {
	pr := &probe{game: g, question: q, verdict: v1alpha1.VerdictUnknown, since: now, index: -1}
	if q.progress != nil {
		pr.judge = &standstill{within: seconds(q.progress.WithinSeconds)}
	} else {
		pr.judge = &tally{needed: q.check.SuccessThreshold, tolerated: q.check.FailureThreshold}
	}
	return pr
}

// restore begins with the verdict that a record has, so that a manager that
// restarts tells nothing anew. How near it was to the next one is not known.
func (pr *probe) restore(recorded []v1alpha1.ProbeStatus) {
	for _, r := range recorded {
		if r.Probe != pr.kind || r.Since == nil {
			continue
		}
		pr.verdict, pr.message, pr.since = r.Verdict, r.Message, r.Since.Time
		if s, ok := pr.judge.(*standstill); ok {
			s.blind = r.Verdict == v1alpha1.VerdictFailing
		}
	}
}

// take brings an answer into the verdict, and says whether that changed.
func (pr *probe) take(a answer, now time.Time) bool {
	if errors.Is(a.err, ErrNotMade) {
		return false
	}
	verdict, message := pr.judge.weigh(pr.verdict, a, now)
	if verdict == pr.verdict {
		return false
	}
	pr.verdict, pr.message, pr.since = verdict, message, now
	return true
}

// asked says whether the probe has anything to find out now: a startup probe
// until it succeeds, the others from then on.
func (pr *probe) asked() bool {
	first := pr.game.probes[0]
	if first.kind != v1alpha1.ProbeStartup {
		return true
	}
	return (pr == first) != (first.verdict == v1alpha1.VerdictSucceeding)
}

func (pr *probe) status() v1alpha1.ProbeStatus {
	since := metav1.NewMicroTime(pr.since)
	status := v1alpha1.ProbeStatus{Probe: pr.kind, Verdict: pr.verdict, Message: pr.message, Since: &since}
	if pr.verdict == v1alpha1.VerdictFailing {
		status.FailedAt = &since
	}
	return status
}

// retireLocked ends the probe. A program that it runs is not left alone: an
// engine cannot end it, so its end is awaited, by whoever cares.
func (pr *probe) retireLocked() {
	pr.retired = true
	if pr.index >= 0 {
		heap.Remove(&pr.lane.queue, pr.index)
	}
	if pr.flight != nil && !pr.runsProgram() {
		pr.flight.cancel()
	}
}
