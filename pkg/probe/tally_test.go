package probe

import (
	"testing"

	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// TestThresholds compares the tally with the plain reading of the rule: a
// verdict is what the last needed successes, or tolerated failures, agree on.
// What starts a game over, or ends its start, is final.
func TestThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{v1alpha1.ProbeStartup, v1alpha1.ProbeLiveness, v1alpha1.ProbeReadiness}).Draw(t, "kind")
		needed, tolerated := rapid.IntRange(1, 4).Draw(t, "needed"), rapid.IntRange(1, 4).Draw(t, "tolerated")
		answers := rapid.SliceOfN(rapid.Bool(), 1, 50).Draw(t, "answers")
		y := newTally(kind, v1alpha1.Probe{SuccessThreshold: int32(needed), FailureThreshold: int32(tolerated)})
		if kind != v1alpha1.ProbeReadiness {
			needed = 1
		}
		want := v1alpha1.VerdictUnknown
		for i := range answers {
			soFar, before := answers[:i+1], want
			if lastAre(soFar, needed, true) {
				want = v1alpha1.VerdictSucceeding
			} else if lastAre(soFar, tolerated, false) {
				want = v1alpha1.VerdictFailing
			}
			changed := y.count(answers[i])
			if changed != (before != want) || y.verdict != want {
				t.Fatalf("after %v: %s, want %s", soFar, y.verdict, want)
			}
			final := kind == v1alpha1.ProbeStartup && want != v1alpha1.VerdictUnknown ||
				kind == v1alpha1.ProbeLiveness && want == v1alpha1.VerdictFailing
			if y.final() != final {
				t.Fatalf("after %v: final is %v", soFar, y.final())
			}
			if final {
				return
			}
		}
	})
}

// lastAre says that the last n answers are all this one.
func lastAre(answers []bool, n int, what bool) bool {
	if len(answers) < n {
		return false
	}
	for _, a := range answers[len(answers)-n:] {
		if a != what {
			return false
		}
	}
	return true
}
