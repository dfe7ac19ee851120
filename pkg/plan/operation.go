package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// codes are the error codes of an action that failed, by what the engine said.
var codes = map[engine.Kind]string{
	engine.Unreachable:   v1alpha1.CodeDockerUnavailable,
	engine.Timeout:       v1alpha1.CodeTimeout,
	engine.NotFound:      v1alpha1.CodeNotFound,
	engine.NameConflict:  v1alpha1.CodeConflict,
	engine.PortConflict:  v1alpha1.CodeContainerStartFailed,
	engine.PullFailed:    v1alpha1.CodeImagePullFailed,
	engine.Invalid:       v1alpha1.CodeStartConfigInvalid,
	engine.MountFailed:   v1alpha1.CodeContainerStartFailed,
	engine.ProgramFailed: v1alpha1.CodeContainerStartFailed,
	engine.StartFailed:   v1alpha1.CodeContainerStartFailed,
	engine.Failed:        v1alpha1.CodeInternalError,
}

// Finished is an intent with what came of it, as far as the engine's answer
// tells. A call that was not answered may have had its effect.
func (i Intent) Finished(err error, settings Settings) Intent {
	i.Outcome = v1alpha1.OperationSucceeded
	if err == nil {
		return i
	}
	kind := engine.KindOf(err)
	i.Outcome, i.Code, i.Message = v1alpha1.OperationFailed, codes[kind], withoutHostPaths(err.Error(), settings)
	if kind == engine.Timeout || kind == engine.Unreachable {
		i.Outcome = v1alpha1.OperationUnknown
	}
	return i
}

// lastOperation is what was just done, the last of what is settled only now, or
// one that is remembered and that a crash kept from being told.
func lastOperation(in Input) *v1alpha1.Operation {
	last := in.Record.Status.LastOperation
	if in.Last != nil && in.Last.Operation != "" {
		intent := *IntentTo(in.Last.Action, in.View)
		intent.ID, intent.By = in.Last.Operation, askedBy(in, in.Last.Operation)
		last = operation(intent.Finished(in.Last.Err, in.Settings), in.Now)
	}
	for _, intent := range append(untold(in, last), Settled(in)...) {
		settled := operation(intent, intent.At)
		switch {
		case last != nil && last.ID == settled.ID:
			settled.At = last.At // which was told
			last = settled
		case last == nil || settled.At.After(last.At.Time):
			last = settled
		}
	}
	return last
}

// untold are the operations that are decided, and later than the last one told.
func untold(in Input, last *v1alpha1.Operation) []Intent {
	var later []Intent
	for _, i := range in.Intents {
		decided := i.Outcome == v1alpha1.OperationSucceeded || i.Outcome == v1alpha1.OperationFailed
		if decided && (last == nil || i.ID != last.ID && i.At.Truncate(time.Second).After(last.At.Time)) {
			later = append(later, i)
		}
	}
	return later
}

// askedBy is who asked for the record when an operation began: what went on beside
// the queue is remembered, and anything else began with the record as it is.
func askedBy(in Input, operation string) string {
	for i := range in.Intents {
		if in.Intents[i].ID == operation {
			return in.Intents[i].By
		}
	}
	return in.Record.AskedBy()
}

func operation(i Intent, at time.Time) *v1alpha1.Operation {
	return &v1alpha1.Operation{
		ID: i.ID, Action: i.Action, By: i.By, Outcome: i.Outcome, Code: i.Code, Message: i.Message, At: metav1.NewTime(at.Truncate(time.Second)),
	}
}

// Settled are the intents with an outcome that was not known, and that the view
// tells: those that a crash left open, and those whose call was not answered.
func Settled(in Input) []Intent {
	var settled []Intent
	for _, intent := range in.Intents {
		open := intent.Outcome == "" || intent.Outcome == v1alpha1.OperationUnknown
		inHand := in.InHand != nil && in.InHand.Operation == intent.ID
		if !open || inHand || !in.View.Seen || !in.View.At.After(intent.At) {
			continue
		}
		if outcome := outcomeSeen(in, &intent); outcome != intent.Outcome {
			intent.Outcome, intent.Code, intent.Message = outcome, "", seen[outcome]
			settled = append(settled, intent)
		}
	}
	return settled
}

// seen is what is told of an outcome that nobody answered.
var seen = map[string]string{
	v1alpha1.OperationSucceeded: "not answered, but seen on the engine",
	v1alpha1.OperationFailed:    "not answered, and without effect",
	v1alpha1.OperationUnknown:   "not answered",
}

// outcomeSeen judges by what there is now. That nothing is seen of it means
// nothing while the engine may still be at it.
func outcomeSeen(in Input, i *Intent) string {
	done, undone := effect(in, i)
	switch {
	case done:
		return v1alpha1.OperationSucceeded
	case undone && in.View.At.After(i.Deadline.Add(clockTolerance)):
		return v1alpha1.OperationFailed
	default:
		return v1alpha1.OperationUnknown
	}
}

// effect says whether what an intent was for is seen, or that it is not. Both are
// false where nothing can tell.
func effect(in Input, i *Intent) (done, undone bool) {
	c := find(in.View, i.Container)
	switch i.Action {
	case v1alpha1.ActionCreate:
		done = createdBy(in.View, i.ID)
		return done, !done
	case v1alpha1.ActionRemove:
		return c == nil, c != nil
	case v1alpha1.ActionStop:
		done = c == nil || isOver(c, i)
		return done, !done
	case v1alpha1.ActionRemoveState:
		deleted := !in.Record.DeletionTimestamp.IsZero() // only then it is known whether it is there
		return deleted && !in.StateExists, deleted && in.StateExists
	}
	if c == nil || !c.Inspected {
		return false, false
	}
	switch i.Action {
	case v1alpha1.ActionStart:
		done = !c.StartedAt.Before(i.At.Add(-clockTolerance))
		return done, !done
	case v1alpha1.ActionUpdate:
		return c.Resources == resources(in.Record), false
	}
	return false, false
}

// isOver says that the run which a stop was meant for is over.
func isOver(c *engine.Container, stop *Intent) bool {
	return !alive(c) || c.Inspected && !stop.means(c.ID, c.StartedAt)
}

// createdBy says that a container is there that an operation created.
func createdBy(view engine.View, operation string) bool {
	for i := range view.Containers {
		if view.Containers[i].Operation == operation {
			return true
		}
	}
	return false
}
