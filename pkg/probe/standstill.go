package probe

import (
	"context"
	"fmt"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Measure asks a game for the number that a progress probe watches, before its
// context ends. Two answers are equal if their numbers are.
type Measure func(ctx context.Context, target Target, spec v1alpha1.ProgressProbe) (number string, err error)

// standstill finds a number that does not move. The first one that is seen is
// life enough; one that is not told stands still. The time counts from the first
// answer to us: what was before a restart of ours is not known, and a game is
// not to suffer for it.
type standstill struct {
	within time.Duration
	number string    // empty until one is told
	moved  time.Time // or the first answer of any kind
	// blind says that the number of a recorded failure is not known: the next one
	// may be the same, and only the one after that shows life.
	blind bool
}

func (s *standstill) weigh(verdict string, a answer, now time.Time) (next, message string) {
	if s.moved.IsZero() {
		s.moved = now
	}
	if a.err == nil && a.number != s.number {
		s.number, s.moved = a.number, now
		if s.blind {
			s.blind = false
			return verdict, ""
		}
		return v1alpha1.VerdictSucceeding, ""
	}
	if now.Sub(s.moved) < s.within {
		return verdict, ""
	}
	return v1alpha1.VerdictFailing, s.complaint(a.err)
}

func (s *standstill) complaint(err error) string {
	since := s.moved.UTC().Format(time.RFC3339)
	complaint := "no number was told since " + since
	if s.number != "" {
		complaint = fmt.Sprintf("the number stands at %s since %s", s.number, since)
	}
	if err != nil {
		complaint += ": " + err.Error()
	}
	return complaint
}
