package probe

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// TestThresholds compares the tally with the plain reading of the rule: a
// verdict is what the last needed successes, or tolerated failures, agree on.
func TestThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		needed, tolerated := rapid.IntRange(1, 4).Draw(t, "needed"), rapid.IntRange(1, 4).Draw(t, "tolerated")
		answers := rapid.SliceOfN(rapid.Bool(), 1, 50).Draw(t, "answers")
		y := &tally{needed: int32(needed), tolerated: int32(tolerated)}
		verdict, want := v1alpha1.VerdictUnknown, v1alpha1.VerdictUnknown
		for i := range answers {
			if lastAre(answers[:i+1], needed, true) {
				want = v1alpha1.VerdictSucceeding
			} else if lastAre(answers[:i+1], tolerated, false) {
				want = v1alpha1.VerdictFailing
			}
			var a answer
			if !answers[i] {
				a.err = errors.New("no")
			}
			if verdict, _ = y.weigh(verdict, a, begin); verdict != want {
				t.Fatalf("after %v: %s, want %s", answers[:i+1], verdict, want)
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
