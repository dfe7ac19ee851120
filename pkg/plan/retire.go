package plan

import (
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// retire removes the containers of a game that does not run, once they were kept
// for as long as the record says. The state directory stays.
func retire(in Input, containers ...*engine.Container) []Action {
	var steps []Action
	for _, c := range containers {
		if c != nil && c.State != engine.StateRemoving && retired(in, c) {
			steps = append(steps, RemoveContainer{ID: c.ID})
		}
	}
	return steps
}

func retired(in Input, c *engine.Container) bool {
	at := retiresAt(in, c)
	return !at.IsZero() && !at.After(in.Now)
}

// retiresAt is when a container that does not run is to go; zero if that is not known.
func retiresAt(in Input, c *engine.Container) time.Time {
	keep := in.Record.Spec.RetainStoppedFor
	if keep == nil || alive(c) || c.Exit == nil || c.Exit.FinishedAt.IsZero() {
		return time.Time{}
	}
	return c.Exit.FinishedAt.Add(keep.Duration)
}

// nextLook is when time alone will change a decision that nothing is to be done;
// zero if it will not.
func nextLook(in Input) time.Time {
	var next time.Time
	for i := range in.View.Containers {
		at := retiresAt(in, &in.View.Containers[i])
		if at.After(in.Now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// stays says that a game without a container ended for good: its restart policy
// leaves it so, and the record is the one that it ran from. One that vanished
// did not end by itself.
func stays(in Input) bool {
	end, ran := lastTermination(in), in.Record.Status.Container
	return end != nil && ran != nil && ran.SpecHash != "" &&
		ran.SpecHash == shortHash(SpecHash(in.Record, in.Settings)) && end.ContainerID == ran.ID &&
		end.Reason != v1alpha1.TerminationUnknown && !mayRestart(in.Record.Spec.RestartPolicy, end)
}
