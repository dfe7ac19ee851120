package plan

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// OrphanPolicy says what becomes of a container of ours, by its label, whose
// game has no record.
type OrphanPolicy string

// Orphan policies.
const (
	// OrphansReport tells of it and touches nothing.
	OrphansReport OrphanPolicy = "report"
	// OrphansAdopt makes a record from it.
	OrphansAdopt OrphanPolicy = "adopt"
	// OrphansRemove removes it after a grace period.
	OrphansRemove OrphanPolicy = "remove"
)

// orphanGrace is what an orphan may take to stop before it is killed.
const orphanGrace = 30 * time.Second

const whyOrphan = "it has no record"

// Orphans is all that a decision about the containers of one game without a
// record rests on.
type Orphans struct {
	Game  engine.GameID
	View  engine.View
	Fleet engine.Fleet
	// FirstSeen is when each of them was first found without a record, by id.
	FirstSeen map[string]time.Time
	// Refusal is why no record could be made of the game; it is tried again at
	// NextTry.
	Refusal string
	NextTry time.Time
	// InHand is a stop that goes on beside the queue.
	InHand   *Work
	Policy   OrphanPolicy
	Grace    time.Duration
	Settings Settings
	Now      time.Time
}

// ForOrphans decides. The plan is never empty while there is an orphan: where
// nothing may be done, it waits for people.
func ForOrphans(in Orphans) Plan {
	if wait := engineAway(Input{View: in.View, Fleet: in.Fleet}); wait != nil {
		return Plan{Actions: []Action{*wait}}
	}
	if in.InHand != nil {
		return Plan{Actions: []Action{Wait{Reason: doing(in.InHand.Action), Message: in.InHand.Action.String(), Deadline: in.InHand.Deadline}}}
	}
	var acts, waits []Action
	for i := range in.View.Containers {
		steps := fate(in, &in.View.Containers[i])
		switch wait, waiting := steps[0].(Wait); {
		case !waiting:
			acts = append(acts, steps...)
		case len(waits) == 0 || sooner(wait, waits[0].(Wait)):
			waits = []Action{wait}
		}
	}
	return Plan{Actions: append(acts, waits...)}
}

// sooner says that a wait ends before another; one that only a source ends may
// never.
func sooner(a, b Wait) bool {
	return !a.Until.IsZero() && (b.Until.IsZero() || a.Until.Before(b.Until))
}

// fate is what becomes of one orphan.
func fate(in Orphans, c *engine.Container) []Action {
	if c.State == engine.StateRemoving {
		return []Action{awaitRemoval()}
	}
	switch {
	case in.Policy == OrphansAdopt && c.Installation == in.Settings.Installation:
		return []Action{adoption(in, c)}
	case in.Policy != OrphansRemove, c.Installation != in.Settings.Installation:
		return []Action{Wait{Reason: v1alpha1.ReasonUnrecorded, Message: "declare the game, or remove the container"}}
	}
	until := in.FirstSeen[c.ID].Add(in.Grace)
	switch {
	case in.Now.Before(until):
		return []Action{Wait{Reason: v1alpha1.ReasonUnrecorded, Message: "then remove container" + withID(c.ID), Until: until}}
	case alive(c):
		stop := StopContainer{ID: c.ID, Grace: orphanGrace, Cause: v1alpha1.TerminationStoppedByUs, Why: whyOrphan}
		return []Action{stop, RemoveContainer{ID: c.ID}}
	default:
		return []Action{RemoveContainer{ID: c.ID}}
	}
}

// OrphanDrift is what a report says of the orphans of one game. A container
// that the engine is removing is none any more.
func OrphanDrift(in Orphans) []v1alpha1.DriftItem {
	var items []v1alpha1.DriftItem
	for i := range in.View.Containers {
		c := &in.View.Containers[i]
		if c.State == engine.StateRemoving {
			continue
		}
		items = append(items, v1alpha1.DriftItem{
			Game: in.Game.String(), Container: c.ID,
			Drift: v1alpha1.Drift{
				Kind: v1alpha1.DriftUnrecordedContainer, Actual: fmt.Sprintf("%s, %s, from %s", c.Name, c.State, c.Image),
				FirstSeen: metav1.NewTime(in.FirstSeen[c.ID].Truncate(time.Second)), Action: advice(fate(in, c)[0]),
			},
		})
	}
	return items
}

// advice is a step for people: one that they have to take is no wait to them.
func advice(step Action) string {
	if wait, waits := step.(Wait); waits && wait.Until.IsZero() {
		return wait.Message
	}
	return step.String()
}

// Nameable says why no record can be of a game, by the labels of its container;
// nil if one can.
func Nameable(game engine.GameID) error {
	for _, part := range []struct{ label, value string }{
		{v1alpha1.LabelNamespace, game.Namespace}, {v1alpha1.LabelGame, game.Name},
	} {
		if problems := validation.IsDNS1123Label(part.value); len(problems) > 0 {
			return fmt.Errorf("label %s is %q: %s", part.label, part.value, problems[0])
		}
	}
	return nil
}
