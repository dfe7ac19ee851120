package command

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Conclude says whether an accepted wish is done, and how, by what the record's
// status tells; nil is a record that is gone. What it is given must not be older
// than the answer to the wish.
//
// A start and a restart are done when the game's container runs as the record
// declares, ready or not; a patch when the new container has proved itself; a stop
// when none runs; a clean-up when the record is gone. A failure is the first try
// that failed. It ends the waiting and not the wish: that stands in the record,
// and goes on being tried.
func Conclude(record *v1alpha1.GameRuntime, wish Accepted) (result Result, done bool) {
	gone := record == nil || wish.UID != "" && record.UID != wish.UID
	switch {
	case wish.Verb == VerbCleanUp && gone:
		return wish.success(""), true
	case gone:
		return failure(v1alpha1.CodeNotFound, "the record was deleted since"), true
	case record.Generation < wish.Generation:
		return Result{}, false // older than the wish
	}
	if why := overtaken(record, wish); why != "" {
		return failure(v1alpha1.CodeConflict, why), true
	}
	status := &record.Status
	if status.ObservedGeneration < wish.Generation || engineAway(status) {
		return Result{}, false
	}
	if operation, done := fulfilled(record, wish); done {
		return wish.success(operation), true
	}
	return failed(status, wish)
}

// Overdue is what somebody is told who waits no longer for a wish that Conclude
// does not find done: why it is not, as docker_unavailable or timeout. The wish
// stands all the same.
func Overdue(record *v1alpha1.GameRuntime, wish Accepted) Result {
	if record == nil || record.Status.ObservedGeneration < wish.Generation {
		return failure(v1alpha1.CodeTimeout, "the record says so, and it is not taken up yet")
	}
	pending := record.Status.Pending
	if pending == nil {
		return failure(v1alpha1.CodeTimeout, "it still goes on")
	}
	switch pending.Reason {
	case v1alpha1.ReasonEngineUnreachable, v1alpha1.ReasonEngineNotSeen, v1alpha1.ReasonUnresponsive, v1alpha1.ReasonMassVanish:
		return failure(v1alpha1.CodeDockerUnavailable, pending.Message+goesOn)
	}
	return failure(v1alpha1.CodeTimeout, "it still goes on: "+pending.Message)
}

// goesOn ends the message of a failure.
const goesOn = "; the record stands, and it goes on being tried"

func failure(code, message string) Result {
	return Result{Outcome: Failure, ErrorCode: code, Message: message}
}

// overtaken says that the record asks for something else by now, or for nothing.
func overtaken(record *v1alpha1.GameRuntime, wish Accepted) string {
	state := record.Spec.State
	switch {
	case wish.Verb == VerbCleanUp:
		return ""
	case !record.DeletionTimestamp.IsZero():
		return "the record is being deleted since"
	case wish.Verb == VerbStop && state != v1alpha1.StateStopped:
		return "the record asks for the game to run since"
	case (wish.Verb == VerbStart || wish.Verb == VerbRestart) && state == v1alpha1.StateStopped:
		return "the record asks for the game to be stopped since"
	case wish.Verb == VerbPatch && record.Spec.Image != wish.Image:
		return "the record asks for another image since"
	}
	return ""
}

// engineAway says that the status tells of what was, and not of what is.
func engineAway(status *v1alpha1.GameRuntimeStatus) bool {
	if p := status.Pending; p != nil && (p.Reason == v1alpha1.ReasonEngineUnreachable || p.Reason == v1alpha1.ReasonEngineNotSeen) {
		return true
	}
	return !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionEngineReachable)
}

// fulfilled says that the engine shows what was asked for, and by which operation
// it came to be.
func fulfilled(record *v1alpha1.GameRuntime, wish Accepted) (operation string, done bool) {
	status := &record.Status
	c, end := status.Container, status.LastTermination
	runs := c != nil && c.State == v1alpha1.ContainerRunning
	switch {
	case wish.Verb == VerbCleanUp:
		return "", false // its record is there
	case wish.Verb == VerbStop:
		return endedBy(c, end), !runs
	case record.Spec.State == v1alpha1.StateStopped:
		return "", true // a patch of a game that is not to run
	case runs && asDeclared(status):
		proving := status.Pending != nil && status.Pending.Reason == v1alpha1.ReasonProving
		return c.StartedBy, wish.Verb != VerbPatch || !proving
	case status.Pending == nil && end != nil && end.Reason == v1alpha1.TerminationCompleted:
		return "", true // it ran, and ended of itself
	}
	return "", false
}

// endedBy is the operation that ended the container's last run; "" if none of ours.
func endedBy(c *v1alpha1.ContainerStatus, end *v1alpha1.Termination) string {
	if c == nil || end == nil || end.ContainerID != c.ID {
		return ""
	}
	return end.Operation
}

// asDeclared says that a container that runs was made from the record as it is. A
// second one and a tag that moved are no matter of this one.
func asDeclared(status *v1alpha1.GameRuntimeStatus) bool {
	for _, d := range status.Drift {
		if d.Kind != v1alpha1.DriftImageMoved && d.Kind != v1alpha1.DriftDuplicateContainer {
			return false
		}
	}
	return true
}

// failed is how a wish failed that is not fulfilled; it is not done while its first
// try is.
func failed(status *v1alpha1.GameRuntimeStatus, wish Accepted) (Result, bool) {
	runs := wish.Verb != VerbStop && wish.Verb != VerbCleanUp // is what was asked for
	pending, end := status.Pending, status.LastTermination
	switch {
	case runs && status.Rollback != nil:
		return failure(v1alpha1.CodeContainerStartFailed, status.Rollback.Message+"; the previous container is back"), true
	case runs && pending == nil && end != nil:
		return failure(v1alpha1.CodeContainerStartFailed, string(end.Reason)+": "+end.Message+"; its restart policy leaves it so"), true
	case pending == nil:
		return Result{}, false
	}
	switch pending.Reason {
	case v1alpha1.ReasonPaused, v1alpha1.ReasonObserved:
		return failure(v1alpha1.CodeConflict, pending.Message), true // until a person changes that
	case v1alpha1.ReasonBackOff: // it ran, and ended
		return failure(v1alpha1.CodeContainerStartFailed, pending.Message+goesOn), true
	}
	if pending.Failures == 0 && pending.Reason != v1alpha1.ReasonStateMissing {
		return Result{}, false
	}
	return firstTry(status), true
}

// codes are those of tries that failed, by what the record waits for.
var codes = map[string]string{
	v1alpha1.ReasonImagePullFailed:  v1alpha1.CodeImagePullFailed,
	v1alpha1.ReasonImageNotPresent:  v1alpha1.CodeImagePullFailed,
	v1alpha1.ReasonPulling:          v1alpha1.CodeImagePullFailed, // once more
	v1alpha1.ReasonSpecRejected:     v1alpha1.CodeStartConfigInvalid,
	v1alpha1.ReasonNameConflict:     v1alpha1.CodeConflict,
	v1alpha1.ReasonPortConflict:     v1alpha1.CodeContainerStartFailed,
	v1alpha1.ReasonStartFailed:      v1alpha1.CodeContainerStartFailed,
	v1alpha1.ReasonStateUnavailable: v1alpha1.CodeContainerStartFailed,
	v1alpha1.ReasonStateMissing:     v1alpha1.CodeContainerStartFailed,
	v1alpha1.ReasonEngineTimeout:    v1alpha1.CodeTimeout,
	v1alpha1.ReasonUnresponsive:     v1alpha1.CodeDockerUnavailable,
}

// firstTry tells of a failed try, also while the next one is under way.
func firstTry(status *v1alpha1.GameRuntimeStatus) Result {
	last := status.LastOperation
	if last != nil && last.Outcome == v1alpha1.OperationSucceeded {
		last = nil
	}
	code := codes[status.Pending.Reason]
	switch {
	case code == "" && last != nil:
		code = last.Code
	case code == "":
		code = v1alpha1.CodeInternalError
	}
	result := failure(code, status.Pending.Message+goesOn)
	if last != nil && last.Code == code {
		result.OperationID = last.ID
	}
	return result
}
