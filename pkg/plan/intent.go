package plan

import (
	"slices"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Intent is what we were about to do to a game's container, written down before
// the engine was called, and what came of it. Whether an end was our doing is
// judged by intents, and by nothing that was only in memory.
type Intent struct {
	// ID is the operation's.
	ID string
	// Action is one of v1alpha1's.
	Action string
	// Container is its id; empty for what has none yet, or is none's business.
	Container string
	// Run is when the run began that a stop or a removal is to end, by the
	// engine's clock; zero if it was not known.
	Run time.Time
	// Cause and Why are what that end is recorded as.
	Cause v1alpha1.TerminationReason
	Why   string
	// By is who asked for the record as it was then.
	By string
	// At is when it was meant, Deadline when the call is given up.
	At       time.Time
	Deadline time.Time
	// Outcome is one of v1alpha1's; empty while it is open.
	Outcome string
	Code    string
	Message string
}

// clockTolerance is how far the engine's clock and ours may be apart: an engine
// on another host tells the end of a container by its own. It is the price of
// that that a crash so shortly before a stop of ours is taken for the stop.
const clockTolerance = time.Second

// IntentTo is the intent of an action, without an id and its times; nil for one
// that changes no container and no state: a wait, a pull.
func IntentTo(a Action, view engine.View) *Intent {
	switch a := a.(type) {
	case CreateContainer:
		return &Intent{Action: v1alpha1.ActionCreate}
	case StartContainer:
		return &Intent{Action: v1alpha1.ActionStart, Container: a.ID}
	case StopContainer:
		return &Intent{Action: v1alpha1.ActionStop, Container: a.ID, Run: runOf(view, a.ID), Cause: a.Cause, Why: a.Why}
	case RemoveContainer:
		return &Intent{Action: v1alpha1.ActionRemove, Container: a.ID, Run: runOf(view, a.ID), Cause: v1alpha1.TerminationStoppedByUs}
	case RenameContainer:
		return &Intent{Action: v1alpha1.ActionRename, Container: a.ID}
	case UpdateResources:
		return &Intent{Action: v1alpha1.ActionUpdate, Container: a.ID}
	case RemoveState:
		return &Intent{Action: v1alpha1.ActionRemoveState}
	}
	return nil
}

// runOf is when a container's present or last run began, as far as a record and
// the journal can hold it.
func runOf(view engine.View, id string) time.Time {
	if c := find(view, id); c != nil {
		return c.StartedAt.Truncate(time.Microsecond)
	}
	return time.Time{}
}

func find(view engine.View, id string) *engine.Container {
	for i := range view.Containers {
		if view.Containers[i].ID == id {
			return &view.Containers[i]
		}
	}
	return nil
}

// means says that an intent is about a run of a container. One run of it says
// nothing about the next.
func (i *Intent) means(container string, started time.Time) bool {
	known := !i.Run.IsZero() && !started.IsZero()
	return i.Container == container && (!known || i.Run.Equal(started.Truncate(time.Microsecond)))
}

// ends says that an intent is to end a container's run.
func (i *Intent) ends() bool {
	return i.Action == v1alpha1.ActionStop || i.Action == v1alpha1.ActionRemove
}

// explains says that an intent is why a run ended when it did: while the engine
// may have been at it, whatever we heard of it, or did not.
func (i *Intent) explains(container string, started, finished time.Time) bool {
	return i.ends() && i.means(container, started) &&
		!finished.Before(i.At.Add(-clockTolerance)) && !finished.After(i.Deadline.Add(clockTolerance))
}

// ourEnd is the intent that ended a run; nil if none of ours did.
func ourEnd(in Input, c *engine.Container) *Intent {
	for i := range in.Intents {
		if in.Intents[i].explains(c.ID, c.StartedAt, c.Exit.FinishedAt) {
			return &in.Intents[i]
		}
	}
	return nil
}

// removes says that an intent is why a container is gone that was known in a
// run: a removal that succeeded, or was meant for that run or one since, or may
// still be under way. One that the engine refused is not.
func (i *Intent) removes(container string, started, now time.Time) bool {
	switch {
	case i.Action != v1alpha1.ActionRemove || i.Container != container || i.Outcome == v1alpha1.OperationFailed:
		return false
	case i.Outcome == v1alpha1.OperationSucceeded:
		return true
	}
	return i.Run.IsZero() || !i.Run.Before(started.Truncate(time.Microsecond)) || !now.After(i.Deadline)
}

// stops says that an intent is a stop of a run.
func (i *Intent) stops(container string, started time.Time) bool {
	return i.Action == v1alpha1.ActionStop && i.means(container, started)
}

// endsInHand says that we are at it to end a run.
func endsInHand(in Input, container string, started time.Time) bool {
	return in.InHand != nil && slices.ContainsFunc(in.Intents, func(i Intent) bool {
		return i.ID == in.InHand.Operation && (i.stops(container, started) || i.removes(container, started, in.Now))
	})
}

// ourRemoval is the intent that a vanished container is accounted to; nil if no
// removal of ours is: that it is gone is what one without an answer has to show.
// What stopped it before tells more than what removed it.
func ourRemoval(in Input, container string, started time.Time) *Intent {
	var first *Intent
	removed := false
	for i := range in.Intents {
		intent := &in.Intents[i]
		removes := intent.removes(container, started, in.Now)
		if first == nil && (removes || intent.stops(container, started)) {
			first = intent
		}
		removed = removed || removes
	}
	if !removed {
		return nil
	}
	return first
}

// tell is an end of ours in words.
func (i *Intent) tell() string {
	if i.Action == v1alpha1.ActionRemove {
		return "removed by Runtime Manager"
	}
	return "stopped by Runtime Manager: " + i.Why
}
