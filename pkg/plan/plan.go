// Package plan holds the decision: from a record, what the engine shows of its
// game and the time, it says what is to be done and what the status tells. It
// is pure: no context, clock, log or lock. An empty plan means in sync; a plan
// that is not empty is what a report shows and what the reconciler does.
package plan

import (
	"cmp"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Plan is what is to be done, in order. The first action is done now, the rest
// is how things stand after it if nothing else happens.
type Plan struct {
	Actions []Action
	// Again is when to decide anew where nothing is to be done and no source
	// will tell; zero if never.
	Again time.Time
}

// InSync says that there is nothing to do.
func (p Plan) InSync() bool { return len(p.Actions) == 0 }

// Next is the action to do now; nil when in sync.
func (p Plan) Next() Action {
	if p.InSync() {
		return nil
	}
	return p.Actions[0]
}

// For decides.
func For(in Input) Plan {
	in.Health = verdicts(in)
	if wait := engineAway(in); wait != nil {
		return Plan{Actions: []Action{*wait}}
	}
	steps := toward(in)
	if len(steps) == 0 {
		return Plan{Again: nextLook(in)}
	}
	wait := handsOff(in, steps)
	if wait == nil {
		wait = holdBack(in, steps[0])
	}
	if wait != nil {
		steps = append([]Action{*wait}, steps...)
	}
	return Plan{Actions: steps}
}

// handsOff keeps the next step from being done where people want to be told of
// it only. That a record is deleted is their wish, and no drift.
func handsOff(in Input, steps []Action) *Wait {
	next := firstDeed(steps)
	switch {
	case next == nil || !in.Record.DeletionTimestamp.IsZero():
		return nil
	case in.Record.Annotations[v1alpha1.AnnotationPaused] == "true":
		return &Wait{Reason: v1alpha1.ReasonPaused, Message: "paused by annotation, not done: " + next.String()}
	case in.Record.Spec.DriftPolicy == v1alpha1.DriftObserve:
		return &Wait{Reason: v1alpha1.ReasonObserved, Message: "driftPolicy is Observe, not done: " + next.String()}
	case in.NamespaceDriftPolicy == v1alpha1.DriftObserve:
		return &Wait{Reason: v1alpha1.ReasonObserved, Message: "the namespace's drift policy is Observe, not done: " + next.String()}
	case in.Settings.DriftPolicy == v1alpha1.DriftObserve:
		return &Wait{Reason: v1alpha1.ReasonObserved, Message: "the manager's drift policy is Observe, not done: " + next.String()}
	case stateElsewhere(in):
		return &Wait{Reason: v1alpha1.ReasonStateMissing, Message: "the game was adopted with its state elsewhere: put that where the record has it; not done: " + next.String()}
	}
	return nil
}

// firstDeed is the first step that is not a wait; nil if there is none.
func firstDeed(steps []Action) Action {
	for _, a := range steps {
		if _, waits := a.(Wait); !waits {
			return a
		}
	}
	return nil
}

// engineAway waits for the engine itself: what was not seen is unknown, never
// gone. The mirror goes on trying, and wakes every record when it succeeds.
func engineAway(in Input) *Wait {
	switch {
	case !in.Fleet.Reachable && !in.Fleet.Since.IsZero():
		return &Wait{Reason: v1alpha1.ReasonEngineUnreachable, Message: in.Fleet.Reason}
	case !in.View.Seen:
		return &Wait{Reason: v1alpha1.ReasonEngineNotSeen, Message: "the engine's containers are not listed yet"}
	}
	return nil
}

// toward lists the steps from what is to what should be, as if nothing had to wait.
func toward(in Input) []Action {
	current, surplus := choose(in)
	var steps []Action
	for _, c := range surplus {
		if c.State != engine.StateRemoving {
			steps = append(steps, dispose(in, c, whyDuplicate)...)
		}
	}
	previous := previous(in, current)
	if previous != nil && alive(previous) {
		steps = append(steps, stop(in, previous, v1alpha1.TerminationStoppedByUs, whyPrevious))
	}
	switch {
	case !in.Record.DeletionTimestamp.IsZero():
		return append(steps, clear(in, current, previous)...)
	case in.Record.Spec.State == v1alpha1.StateStopped:
		return append(steps, halt(in, current, previous)...)
	default:
		return append(steps, run(in, current, previous)...)
	}
}

// choose picks the container that stays: a running one before all, then the
// one made from the record as it is, then the youngest. The previous one, kept
// until an update has proved itself, stands in where there is no other.
func choose(in Input) (current *engine.Container, surplus []*engine.Container) {
	if len(in.View.Containers) == 1 {
		return &in.View.Containers[0], nil
	}
	for i := range in.View.Containers {
		c := &in.View.Containers[i]
		switch {
		case isKept(in, c):
		case current == nil:
			current = c
		case rank(in, c) >= rank(in, current):
			surplus = append(surplus, current)
			current = c
		default:
			surplus = append(surplus, c)
		}
	}
	if current == nil && len(in.View.Containers) > 0 {
		current = &in.View.Containers[0]
	}
	return current, surplus
}

func rank(in Input, c *engine.Container) int {
	score := 0
	if alive(c) {
		score += 2
	}
	if !outdated(in, c) {
		score++
	}
	return score
}

func alive(c *engine.Container) bool {
	return c.State == engine.StateRunning || c.State == engine.StatePaused
}

// NeedsImage says that a container is to be made, so that the game image matters.
func NeedsImage(in Input) bool {
	if !in.View.Seen || !in.Record.DeletionTimestamp.IsZero() || in.Record.Spec.State != v1alpha1.StateRunning {
		return false
	}
	c, _ := choose(in)
	return c == nil || outdated(in, c) || isKept(in, c)
}

// Why a container is stopped, for the record.
const (
	whyDeleted   = "the record is being deleted"
	whyStopped   = "the record asks for Stopped"
	whyChanged   = "its specification changed"
	whyDuplicate = "the game has another container"
	whyPrevious  = "it was replaced"
	whyFailed    = "its specification failed"
	whyPaused    = "it was paused by hand"
)

func dispose(in Input, c *engine.Container, why string) []Action {
	var steps []Action
	if alive(c) {
		steps = append(steps, stop(in, c, v1alpha1.TerminationStoppedByUs, why))
	}
	return append(steps, RemoveContainer{ID: c.ID})
}

// clear empties the engine of a record that is being deleted.
func clear(in Input, c, previous *engine.Container) []Action {
	var steps []Action
	if previous != nil {
		steps = append(steps, RemoveContainer{ID: previous.ID})
	}
	switch {
	case c == nil:
	case c.State == engine.StateRemoving:
		steps = append(steps, awaitRemoval())
	default:
		steps = append(steps, dispose(in, c, whyDeleted)...)
	}
	if in.StateExists && in.Record.Spec.Storage.ReclaimPolicy == v1alpha1.ReclaimDelete {
		steps = append(steps, RemoveState{Game: GameOf(in.Record)})
	}
	return steps
}

// awaitRemoval leaves alone what the engine is removing already: to ask again
// succeeds at once and changes nothing, so it would be asked without end.
func awaitRemoval() Wait {
	return Wait{Reason: v1alpha1.ReasonRemoving, Message: "the engine is removing the container"}
}

func halt(in Input, c, previous *engine.Container) []Action {
	if c != nil && alive(c) {
		return []Action{stop(in, c, v1alpha1.TerminationStoppedByUs, whyStopped)}
	}
	return retire(in, c, previous)
}

func run(in Input, c, previous *engine.Container) []Action {
	if c == nil && stays(in) {
		return nil
	}
	if steps := update(in, c, previous); steps != nil {
		return steps
	}
	switch {
	case c == nil:
		return create(in)
	case c.State == engine.StateRemoving:
		return append([]Action{awaitRemoval()}, create(in)...)
	case alive(c):
		return keep(in, c)
	default:
		return restart(in, c)
	}
}

func create(in Input) []Action {
	return append(pull(in), anew(in)...)
}

// anew makes a container and starts it.
func anew(in Input) []Action {
	return []Action{CreateContainer{Spec: ContainerSpec(in.Record, in.Settings)}, StartContainer{}}
}

func pull(in Input) []Action {
	spec := in.Record.Spec
	missing := !in.Image.Present && spec.ImagePullPolicy != v1alpha1.PullNever
	stale := spec.ImagePullPolicy == v1alpha1.PullAlways && !in.Image.Pulled
	if missing || stale {
		return []Action{PullImage{Ref: spec.Image}}
	}
	return nil
}

// keep lets a running container run, unless its probes say otherwise.
func keep(in Input, c *engine.Container) []Action {
	if c.State == engine.StatePaused {
		return []Action{stop(in, c, v1alpha1.TerminationStoppedByUs, whyPaused), StartContainer{ID: c.ID}}
	}
	probe := failingProbe(in.Health)
	if probe == nil {
		return mend(in, c)
	}
	again := []Action{stop(in, c, v1alpha1.TerminationProbeFailed, failed(*probe)), StartContainer{ID: c.ID}}
	wait := patience(in, c, probe)
	if wait == nil {
		return again
	}
	if steps := mend(in, c); steps != nil {
		return steps
	}
	return append([]Action{*wait}, again...)
}

// mend brings a running container in line without ending its run.
func mend(in Input, c *engine.Container) []Action {
	if want := resources(in.Record); c.Inspected && (c.Resources != want || c.SelfRestarts) {
		return []Action{UpdateResources{ID: c.ID, Resources: want}}
	}
	if name := containerName(in); c.Name != name {
		return []Action{RenameContainer{ID: c.ID, Name: name}}
	}
	return nil
}

// restart starts a container that does not run, where the restart policy lets
// it, and removes one that stays as it is in the end.
func restart(in Input, c *engine.Container) []Action {
	start := []Action{StartContainer{ID: c.ID}}
	end := lastTermination(in)
	if c.State == engine.StateCreated || end != nil && end.ContainerID != c.ID {
		return start
	}
	if !c.Inspected {
		return append([]Action{awaitFacts(c)}, start...)
	}
	if !mayRestart(in.Record.Spec.RestartPolicy, end) {
		return retire(in, c, nil)
	}
	return start
}

// mayRestart says whether a game that ended so is started again. Whatever ended
// it, a record that asked for Stopped since and now asks for Running is a wish.
//
// What the policy speaks of is how the game's own runs end. A start that failed
// is no run, and what goes down with the engine or its host did not end: the
// record asked for it all the time.
func mayRestart(policy v1alpha1.RestartPolicy, end *v1alpha1.Termination) bool {
	if end == nil || end.Settled || neverRan(end.Reason) {
		return true
	}
	switch end.Reason {
	case v1alpha1.TerminationStoppedByUs, v1alpha1.TerminationEngineRestarted, v1alpha1.TerminationHostRebooted:
		return true
	default: // the policy's to say
	}
	switch policy {
	case v1alpha1.RestartNever:
		return false
	case v1alpha1.RestartOnFailure:
		return end.Reason != v1alpha1.TerminationCompleted
	default:
		return true
	}
}

// holdBack says what the next step has to wait for, if anything.
func holdBack(in Input, next Action) *Wait {
	if _, waits := next.(Wait); waits {
		return nil
	}
	if wait := cmp.Or(frozen(in, next), unresponsive(in, next)); wait != nil {
		return wait
	}
	if in.InHand != nil && sameWork(in.InHand.Action, next) {
		return &Wait{Reason: doing(in.InHand.Action), Message: in.InHand.String(), Deadline: in.InHand.Deadline}
	}
	if failed := failure(in); failed != nil && failed.NextTry != nil && failed.NextTry.After(in.Now) {
		return &Wait{Reason: failed.Reason, Message: failed.Message, Until: failed.NextTry.Time}
	}
	switch next := next.(type) {
	case StartContainer:
		if end := lastTermination(in); end != nil && end.ContainerID != next.ID && refused(in) {
			return nil // what is brought back did not end so
		}
		return restartDelay(in)
	case PullImage, CreateContainer:
		return restartDelay(in)
	}
	return nil
}

// sameWork says that the work in hand is the next step, or stands in its way:
// a pull of another image does not, a stop that goes on does.
func sameWork(inHand, next Action) bool {
	if pull, ok := inHand.(PullImage); ok {
		return pull == next
	}
	return true
}

func stop(in Input, c *engine.Container, cause v1alpha1.TerminationReason, why string) StopContainer {
	grace := 30 * time.Second // the CRD's default, for records that no API server defaulted
	if s := in.Record.Spec.StopGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	stop := StopContainer{ID: c.ID, Signal: in.Record.Spec.StopSignal, Grace: grace, Cause: cause, Why: why}
	if c.State == engine.StateRunning && !c.Unresponsive && grace > 0 { // nothing else can answer in time
		stop.PreStop = in.Record.Spec.Lifecycle.PreStop.DeepCopy() // the stop outlives the record
	}
	return stop
}

// GameOf is the game that a record declares.
func GameOf(record *v1alpha1.GameRuntime) engine.GameID {
	return engine.GameID{Namespace: record.Namespace, Name: record.Name}
}
