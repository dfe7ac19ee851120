package probe

import "galaxy.io/runtime-manager/api/v1alpha1"

// tally counts answers in a row into a verdict, as Kubernetes does: a verdict
// changes after successThreshold successes or failureThreshold failures.
type tally struct {
	kind                string
	successes, failures int32
	needed, tolerated   int32
	verdict             string
}

func newTally(kind string, spec v1alpha1.Probe) tally {
	t := tally{kind: kind, needed: max(spec.SuccessThreshold, 1), tolerated: max(spec.FailureThreshold, 1), verdict: v1alpha1.VerdictUnknown}
	if kind != v1alpha1.ProbeReadiness {
		t.needed = 1 // more would make no sense: Kubernetes allows no other value
	}
	return t
}

// count takes one answer and says whether the verdict changed.
func (t *tally) count(success bool) bool {
	if success {
		t.successes, t.failures = t.successes+1, 0
	} else {
		t.successes, t.failures = 0, t.failures+1
	}
	before := t.verdict
	switch {
	case t.successes >= t.needed:
		t.verdict = v1alpha1.VerdictSucceeding
	case t.failures >= t.tolerated:
		t.verdict = v1alpha1.VerdictFailing
	}
	return t.verdict != before
}

// final says that nothing more is to be found out about this instance: its
// start is over, or its end is decided.
func (t *tally) final() bool {
	switch t.kind {
	case v1alpha1.ProbeStartup:
		return t.verdict != v1alpha1.VerdictUnknown
	case v1alpha1.ProbeLiveness:
		return t.verdict == v1alpha1.VerdictFailing
	}
	return false
}
