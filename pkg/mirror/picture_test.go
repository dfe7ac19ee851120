package mirror

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/pkg/engine"
)

// TestTheLatestQuestionWins answers questions in any order, and compares the
// picture with the plain rule: of all answers so far, the one to the latest
// question holds.
func TestTheLatestQuestionWins(t *testing.T) {
	type answer struct {
		asked uint64
		there bool
	}
	rapid.Check(t, func(t *rapid.T) {
		p := newPicture()
		latest := map[string]answer{}
		var open []uint64
		ids := []string{"c1", "c2"}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(open) == 0 || rapid.Bool().Draw(t, "ask") {
				open = append(open, p.ask(time.Time{}))
				continue
			}
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			a := answer{open[i], rapid.Bool().Draw(t, "there")}
			id := rapid.SampledFrom(ids).Draw(t, "of")
			open = append(open[:i], open[i+1:]...)
			if a.there {
				p.put(engine.Container{ID: id, Game: chess, Generation: int64(a.asked)}, a.asked, time.Time{})
			} else {
				p.drop(id, a.asked)
			}
			p.answered(a.asked)
			if a.asked > latest[id].asked {
				latest[id] = a
			}
			for _, id := range ids {
				e := p.entries[id]
				if there := e != nil; there != latest[id].there || there && e.container.Generation != int64(latest[id].asked) {
					t.Fatalf("%s shows %v, want %v", id, e, latest[id])
				}
			}
			if len(p.of(chess)) != len(p.entries) || len(open) == 0 && len(p.gone) > 0 {
				t.Fatalf("%d of the game, %d in all, %d gone, %d open", len(p.of(chess)), len(p.entries), len(p.gone), len(open))
			}
		}
	})
}
