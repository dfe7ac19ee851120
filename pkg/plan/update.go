package plan

import (
	"fmt"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// A changed specification needs a new container. The one before it is kept,
// stopped and under another name, until the new one has proved itself, and is
// brought back where it does not. Never do both run: the state directory has
// one writer.
const (
	// proof is how long a new container must run, and be ready where it says so:
	// many a game crashes a moment after it was ready.
	proof = 10 * time.Second
	// proofDeadline is how long one with a probe may take to be ready.
	proofDeadline = 10 * time.Minute
)

// previousName is the name of a container that was replaced.
func previousName(in Input) string { return containerName(in) + ".previous" }

func containerName(in Input) string {
	return ContainerName(GameOf(in.Record), in.Settings.Installation)
}

// isKept says that a container is one that was replaced, and can come back.
func isKept(in Input, c *engine.Container) bool {
	return c.Name == previousName(in) && (c.State == engine.StateExited || alive(c))
}

// previous is the container that was replaced, where another one is current.
func previous(in Input, current *engine.Container) *engine.Container {
	for i := range in.View.Containers {
		if c := &in.View.Containers[i]; isKept(in, c) && current != nil && c.ID != current.ID {
			return c
		}
	}
	return nil
}

// update lists the steps of a change from one container to another: forth, back,
// or the end of it. None where the current container is the one that is asked for.
func update(in Input, c, kept *engine.Container) []Action {
	switch {
	case c == nil:
		return nil
	case isKept(in, c):
		return switchOver(in, c)
	case c.State == engine.StateRemoving && kept != nil:
		return append([]Action{awaitRemoval()}, switchOver(in, kept)...)
	case c.State == engine.StateRemoving:
		return nil
	}
	if why := updateFailed(in, c, kept); why != "" {
		return append([]Action{fallBack(in, why)}, bringBack(in, c, kept, whyFailed)...)
	}
	return change(in, c, kept)
}

func change(in Input, c, kept *engine.Container) []Action {
	switch {
	case kept != nil && refused(in):
		return bringBack(in, c, kept, whyFailed)
	case kept != nil && outdated(in, c) && !outdated(in, kept):
		return bringBack(in, c, kept, whyChanged)
	case c.State == engine.StateDead || outdated(in, c) && !refused(in):
		return replace(in, c, kept)
	case outdated(in, c):
		return hold(in, c)
	case kept != nil:
		return prove(in, c, kept)
	}
	return nil
}

// switchOver goes on where the previous container is all that there is: on to
// the new one, or back.
func switchOver(in Input, kept *engine.Container) []Action {
	if why := updateFailed(in, nil, kept); why != "" {
		return append([]Action{fallBack(in, why)}, revive(in, kept)...)
	}
	if refused(in) || !outdated(in, kept) {
		return revive(in, kept)
	}
	steps := create(in)
	if alive(kept) {
		steps = append([]Action{stop(in, kept, v1alpha1.TerminationStoppedByUs, whyPrevious)}, steps...)
	}
	return append(steps, RemoveContainer{ID: kept.ID})
}

// replace pulls first: an image that cannot be had stops no game. What never ran
// well is not worth keeping.
func replace(in Input, c, kept *engine.Container) []Action {
	steps := pull(in)
	if kept != nil || !worthKeeping(in, c) {
		return append(append(steps, dispose(in, c, whyChanged)...), anew(in)...)
	}
	if alive(c) {
		steps = append(steps, stop(in, c, v1alpha1.TerminationStoppedByUs, whyChanged))
	}
	steps = append(steps, RenameContainer{ID: c.ID, Name: previousName(in)})
	return append(append(steps, anew(in)...), RemoveContainer{ID: c.ID})
}

func worthKeeping(in Input, c *engine.Container) bool {
	if c.UID != string(in.Record.UID) {
		return false // a namesake's
	}
	if alive(c) {
		return true
	}
	end := lastTermination(in)
	return c.State == engine.StateExited && end != nil && end.ContainerID == c.ID && end.InARow == 0
}

// bringBack undoes an update.
func bringBack(in Input, c, kept *engine.Container, why string) []Action {
	return append(dispose(in, c, why), revive(in, kept)...)
}

func revive(in Input, kept *engine.Container) []Action {
	return []Action{RenameContainer{ID: kept.ID, Name: containerName(in)}, StartContainer{ID: kept.ID}}
}

// fallBack is the moment in which a roll-back is written down, before anything
// is done about it: what told of the failure is gone with the container.
func fallBack(in Input, why string) Wait {
	return Wait{
		Reason: v1alpha1.ReasonRolledBack, Message: "bringing the previous container back: " + why,
		Until: in.Now.Add(time.Millisecond),
	}
}

// hold keeps the container that was brought back, as any other, and the refused
// specification where it is.
func hold(in Input, c *engine.Container) []Action {
	steps := restart
	if alive(c) {
		steps = keep
	}
	if mend := steps(in, c); mend != nil {
		return mend
	}
	wait := Wait{Reason: v1alpha1.ReasonRolledBack, Message: "not tried again until the record changes: " + in.Record.Status.Rollback.Message}
	return append([]Action{wait}, replace(in, c, nil)...)
}

// prove removes the previous container once the new one is ready, or is done.
func prove(in Input, c, kept *engine.Container) []Action {
	remove := RemoveContainer{ID: kept.ID}
	if !alive(c) {
		if steps := restart(in, c); steps != nil {
			return append(steps, remove)
		}
		return []Action{remove}
	}
	if steps := keep(in, c); steps != nil {
		return append(steps, remove)
	}
	if until := proven(in, c); until.After(in.Now) && outdated(in, kept) {
		return []Action{Wait{Reason: v1alpha1.ReasonProving, Message: "the new container has to prove itself", Until: until}, remove}
	}
	return []Action{remove}
}

// proven is when a new container has proved itself, or failed to, if nothing
// happens before.
func proven(in Input, c *engine.Container) time.Time {
	if reason, _ := probing(in); reason != "" {
		return began(in, c).Add(proofDeadline)
	}
	return began(in, c).Add(proof)
}

// refused says that the record's specification failed, and was written down so.
func refused(in Input) bool {
	refusal := in.Record.Status.Rollback
	return refusal != nil && refusal.SpecHash == shortHash(SpecHash(in.Record, in.Settings)) && !retryAsked(in)
}

// rollback is what the status tells of a specification that failed.
func rollback(in Input) *v1alpha1.Rollback {
	c, _ := choose(in)
	kept := previous(in, c)
	switch {
	case c == nil:
	case isKept(in, c):
		c, kept = nil, c
	case c.State == engine.StateRemoving:
		c = nil
	}
	if why := updateFailed(in, c, kept); why != "" {
		return &v1alpha1.Rollback{
			SpecHash: shortHash(SpecHash(in.Record, in.Settings)), Image: in.Record.Spec.Image, Message: why, At: *metaTime(in.Now),
		}
	}
	if !refused(in) || kept == nil && (c == nil || !outdated(in, c)) {
		return nil // there is nothing to bring back, or hold
	}
	return in.Record.Status.Rollback.DeepCopy()
}

// updateFailed says how a new container, nil if there is none yet, failed to
// take the place of the one that was kept; "" if it did not, or has not yet.
func updateFailed(in Input, c, kept *engine.Container) string {
	if kept == nil || in.Record.Spec.Update.OnUnhealthy == v1alpha1.UnhealthyKeep || refused(in) || in.Record.Spec.State != v1alpha1.StateRunning {
		return ""
	}
	if c != nil && outdated(in, c) || !outdated(in, kept) {
		return "" // not the update's doing, or nothing to go back to
	}
	if failed := failure(in); failed != nil && damning[failed.Reason] {
		return failed.Message
	}
	switch {
	case c == nil:
		return ""
	case alive(c):
		return unhealthy(in, c)
	}
	if end := lastTermination(in); end != nil && end.ContainerID == c.ID && blamed(end.Reason) {
		return fmt.Sprintf("it ended before it had proved itself: %s: %s", end.Reason, end.Message)
	}
	return ""
}

// unhealthy says what speaks against a new container that runs; "" if nothing
// does, or not yet.
func unhealthy(in Input, c *engine.Container) string {
	if probe := failingProbe(in.Health); probe != nil {
		return failed(*probe)
	}
	if reason, message := probing(in); reason != "" && !began(in, c).Add(proofDeadline).After(in.Now) {
		return fmt.Sprintf("not ready within %s: %s", proofDeadline, message)
	}
	return ""
}

// damning are the failures of a create or start that the specification is to
// blame for.
var damning = map[string]bool{
	v1alpha1.ReasonSpecRejected: true, v1alpha1.ReasonStartFailed: true, v1alpha1.ReasonPortConflict: true,
}

// blamed says that an end speaks against the specification.
func blamed(reason v1alpha1.TerminationReason) bool {
	switch reason {
	case v1alpha1.TerminationCrashed, v1alpha1.TerminationOOMKilled, v1alpha1.TerminationProbeFailed:
		return true
	default:
		return neverRan(reason)
	}
}
