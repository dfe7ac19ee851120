package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// lastTermination is how the game last ended, or failed to start: as the engine
// shows it now, or as it was recorded.
func lastTermination(in Input) *v1alpha1.Termination {
	last := in.Record.Status.LastTermination.DeepCopy()
	if last != nil && retryAsked(in) {
		last.ByProbeInARow = 0
	}
	if failed := startFailure(in, last); failed != nil {
		return failed
	}
	if end := newEnd(in); end != nil {
		end.ObservedGeneration = in.Record.Generation
		end.InARow, end.ByProbeInARow = inARow(in, last, end), byProbeInARow(in, last, end)
		return end
	}
	if c, _ := choose(in); last != nil && last.RestartedAt == nil && startedAfter(c, last.FinishedAt) {
		last.RestartedAt = microTime(c.StartedAt)
	}
	return last
}

// Ended says that the engine shows an end that the record does not tell yet, and
// of which container: its last lines belong into Input.Log, and are to be had
// until anything is done about it. A container that is gone has no id.
func Ended(in Input) (id string, ended bool) {
	end := newEnd(in)
	if end == nil || in.Brake != nil { // until that is released, nothing is told
		return "", false
	}
	if c, _ := choose(in); c != nil {
		id = c.ID
	}
	return id, true
}

// newEnd is the end that the engine shows and the record does not tell.
func newEnd(in Input) *v1alpha1.Termination {
	last := in.Record.Status.LastTermination
	if end := ended(in); end != nil && !told(last, end) && !older(end, last) {
		return end
	}
	return nil
}

// told says that an end is of the run that the record tells the end of, or
// that a failed start came after: a run ends once.
func told(last, end *v1alpha1.Termination) bool {
	return sameEnd(last, end) || last != nil && last.ContainerID == end.ContainerID && last.StartedAt.Equal(end.StartedAt)
}

// ended is the end that the engine shows, recorded or not.
func ended(in Input) *v1alpha1.Termination {
	if !in.View.Seen {
		return nil
	}
	if missing(in) != nil {
		return vanished(in)
	}
	c, _ := choose(in)
	if c == nil || c.Exit == nil || alive(c) || c.Exit.FinishedAt.IsZero() { // it never ran
		return nil
	}
	end := &v1alpha1.Termination{
		ExitCode: c.Exit.Code, Log: lastLines(in.Log), ContainerID: c.ID, ImageDigest: c.ImageID,
		StartedAt: microTime(c.StartedAt), FinishedAt: microTime(c.Exit.FinishedAt),
	}
	if ours := ourEnd(in, c); ours != nil {
		end.Reason, end.Message, end.Operation = ours.Cause, ours.tell(), ours.ID
	} else {
		end.Reason, end.Message = cause(in, c)
		end.Message = withoutHostPaths(end.Message, in.Settings)
	}
	end.Signal = signalOf(end.Reason, c)
	return end
}

// missing is the recorded container where it ran, is not on the engine any more,
// and the record does not tell how that run ended; nil otherwise.
func missing(in Input) *v1alpha1.ContainerStatus {
	recorded := in.Record.Status.Container
	if recorded == nil || recorded.State == v1alpha1.ContainerRemoved || recorded.StartedAt == nil || find(in.View, recorded.ID) != nil {
		return nil
	}
	last := in.Record.Status.LastTermination
	if last != nil && last.ContainerID == recorded.ID && !last.FinishedAt.Before(recorded.StartedAt) {
		return nil
	}
	return recorded
}

// vanished is the end of a container that ran, and is gone without a trace of
// how it ended. While we are at it ourselves, nobody can say yet whose doing it is.
func vanished(in Input) *v1alpha1.Termination {
	gone := missing(in)
	if gone == nil || endsInHand(in, gone.ID, gone.StartedAt.Time) {
		return nil
	}
	end := &v1alpha1.Termination{
		Reason: v1alpha1.TerminationUnknown, ExitCode: 255, Disappeared: true,
		Message:     "the container disappeared from the engine",
		ContainerID: gone.ID, ImageDigest: gone.ImageDigest,
		StartedAt: gone.StartedAt, FinishedAt: microTime(in.Now),
	}
	if ours := ourRemoval(in, gone.ID, gone.StartedAt.Time); ours != nil {
		end.Reason, end.Message, end.Operation, end.Disappeared = ours.Cause, ours.tell(), ours.ID, false
	}
	return end
}

// inARow counts the ends nobody asked for: again from one after a run of
// backoff.resetAfter, and after a change of the spec. What is not the game's
// fault is an end like any other, and makes its back-off no longer.
func inARow(in Input, last, end *v1alpha1.Termination) int32 {
	if end.Reason == v1alpha1.TerminationStoppedByUs {
		return 0
	}
	if startsOver(in, last, end) {
		return 1
	}
	switch end.Reason {
	case v1alpha1.TerminationStoppedByHand, v1alpha1.TerminationEngineRestarted, v1alpha1.TerminationHostRebooted:
		return max(last.InARow, 1)
	default:
		return last.InARow + 1
	}
}

// startsOver says that an end is not in a row with the last one.
func startsOver(in Input, last, end *v1alpha1.Termination) bool {
	resetAfter := in.Record.Spec.Backoff.ResetAfter.Duration
	ranLong := resetAfter > 0 && end.StartedAt != nil && end.FinishedAt.Sub(end.StartedAt.Time) >= resetAfter
	return last == nil || ranLong || last.ObservedGeneration != in.Record.Generation
}

// byProbeInARow counts those of them that probes made us end.
func byProbeInARow(in Input, last, end *v1alpha1.Termination) int32 {
	if end.Reason == v1alpha1.TerminationStoppedByUs {
		return 0
	}
	var count int32
	if !startsOver(in, last, end) {
		count = last.ByProbeInARow
	}
	if end.Reason == v1alpha1.TerminationProbeFailed {
		count++
	}
	return count
}

// older says that an end is history: a container that was kept ended before the
// one that took its place.
func older(end, last *v1alpha1.Termination) bool {
	return last != nil && last.ContainerID != end.ContainerID && last.FinishedAt != nil && !last.FinishedAt.Before(end.FinishedAt)
}

// sameEnd says that two records are of one end, or of one start that failed.
func sameEnd(a, b *v1alpha1.Termination) bool {
	return a != nil && a.ContainerID == b.ContainerID && a.FinishedAt.Equal(b.FinishedAt)
}

func startedAfter(c *engine.Container, end *metav1.MicroTime) bool {
	return c != nil && alive(c) && end != nil && c.StartedAt.After(end.Time)
}

// microTime drops what a record cannot hold, so that what is read back is equal.
func microTime(t time.Time) *metav1.MicroTime {
	if t.IsZero() {
		return nil
	}
	m := metav1.NewMicroTime(t.Truncate(time.Microsecond))
	return &m
}
