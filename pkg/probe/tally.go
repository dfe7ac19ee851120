package probe

import (
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// tally counts answers in a row into a verdict, as Kubernetes does: a verdict
// changes after successThreshold successes or failureThreshold failures.
type tally struct {
	successes, failures int32
	needed, tolerated   int32
}

func (t *tally) weigh(verdict string, a answer, _ time.Time) (next, message string) {
	if a.err == nil {
		t.successes, t.failures = t.successes+1, 0
	} else {
		t.successes, t.failures = 0, t.failures+1
	}
	switch {
	case t.successes >= t.needed:
		return v1alpha1.VerdictSucceeding, ""
	case t.failures >= t.tolerated:
		return v1alpha1.VerdictFailing, a.err.Error()
	}
	return verdict, ""
}
