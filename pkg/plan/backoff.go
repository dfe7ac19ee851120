package plan

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// ErrState marks an outcome whose state directory, not the engine, was the
// trouble, ErrStateMissing one whose state directory should be there and is not.
var (
	ErrState        = errors.New("state directory")
	ErrStateMissing = fmt.Errorf("missing %w", ErrState)
)

// curve is an exponential back-off.
type curve struct{ initial, max time.Duration }

// curves of an action that failed, by what the engine said. A pull burdens a
// registry that others share, so it is tried the least often; an engine that is
// away is noticed by the mirror, which wakes the record. A port comes free and a
// directory comes back, a program in an image does neither.
var curves = map[engine.Kind]curve{
	engine.Unreachable:   {time.Second, 10 * time.Second},
	engine.Timeout:       {5 * time.Second, time.Minute},
	engine.NotFound:      {time.Second, time.Minute},
	engine.NameConflict:  {5 * time.Second, time.Minute},
	engine.PortConflict:  {2 * time.Second, time.Minute},
	engine.PullFailed:    {5 * time.Second, 5 * time.Minute},
	engine.Invalid:       {10 * time.Second, 5 * time.Minute},
	engine.MountFailed:   {2 * time.Second, time.Minute},
	engine.ProgramFailed: {10 * time.Second, 5 * time.Minute},
	engine.StartFailed:   {2 * time.Second, 5 * time.Minute},
	engine.Failed:        {2 * time.Second, 2 * time.Minute},
}

// after is the delay after so many failures in a row: initial, doubled each time.
func (c curve) after(failures int32) time.Duration {
	delay := c.initial
	for i := int32(1); i < failures && delay < c.max; i++ {
		delay *= 2
	}
	return min(delay, c.max)
}

// failure is the failed action that the record still has to get over: the one
// that just happened, or the recorded one. A changed spec is a fresh start.
func failure(in Input) *v1alpha1.Pending {
	previous := in.Record.Status.Pending
	if previous != nil && (retryAsked(in) || previous.Failures == 0 || in.Record.Status.ObservedGeneration != in.Record.Generation) {
		previous = nil
	}
	if in.Last == nil {
		return previous
	}
	if in.Last.Err == nil {
		return nil
	}
	failed := &v1alpha1.Pending{
		Reason:   failureReason(in.Last),
		Message:  withoutHostPaths(in.Last.Err.Error(), in.Settings),
		Failures: 1,
		Since:    metav1.NewTime(in.Now),
	}
	if previous != nil {
		failed.Failures = previous.Failures + 1
	}
	delay := curves[engine.KindOf(in.Last.Err)].after(failed.Failures)
	failed.NextTry = microTime(in.Now.Add(delay + jitter(delay, string(in.Record.UID), failed.Failures)))
	return failed
}

// retryAsked says that a person wants what waits to be tried now. It is said
// once for each value of the annotation.
func retryAsked(in Input) bool {
	value := in.Record.Annotations[v1alpha1.AnnotationRetry]
	return value != "" && value != in.Record.Status.Retried
}

// withoutHostPaths keeps where the state directories are to ourselves.
func withoutHostPaths(message string, settings Settings) string {
	if settings.StateRoot == "" {
		return message
	}
	return strings.ReplaceAll(message, settings.StateRoot, "(state root)")
}

// jitter is up to a tenth of a delay, the same for the same record and try:
// many records that failed together do not come back together.
func jitter(delay time.Duration, uid string, failures int32) time.Duration {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d", uid, failures)
	return delay / 10 * time.Duration(h.Sum32()%100) / 100
}

func failureReason(last *Outcome) string {
	switch {
	case errors.Is(last.Err, ErrStateMissing):
		return v1alpha1.ReasonStateMissing
	case errors.Is(last.Err, ErrState):
		return v1alpha1.ReasonStateUnavailable
	}
	switch engine.KindOf(last.Err) {
	case engine.Unreachable:
		return v1alpha1.ReasonEngineUnreachable
	case engine.Timeout:
		return v1alpha1.ReasonEngineTimeout
	case engine.NameConflict:
		return v1alpha1.ReasonNameConflict
	case engine.PortConflict:
		return v1alpha1.ReasonPortConflict
	case engine.PullFailed:
		return v1alpha1.ReasonImagePullFailed
	case engine.Invalid:
		return v1alpha1.ReasonSpecRejected
	case engine.MountFailed:
		return v1alpha1.ReasonStateUnavailable
	case engine.ProgramFailed, engine.StartFailed:
		return v1alpha1.ReasonStartFailed
	case engine.NotFound:
		if _, creating := last.Action.(CreateContainer); creating {
			return v1alpha1.ReasonImageNotPresent
		}
	case engine.Failed, engine.NotRunning: // the latter is what people at a console meet, never an action
	}
	return v1alpha1.ReasonEngineError
}

// restartDelay holds a restart back after an end that nobody asked for. A start
// that failed since is held back as any failure.
func restartDelay(in Input) *Wait {
	end := lastTermination(in)
	if end == nil || retryAsked(in) || end.InARow == 0 || neverRan(end.Reason) || end.RestartedAt != nil || end.ObservedGeneration != in.Record.Generation {
		return nil
	}
	backoff := in.Record.Spec.Backoff
	until := end.FinishedAt.Add(curve{backoff.Initial.Duration, backoff.Max.Duration}.after(end.InARow))
	if !until.After(in.Now) {
		return nil
	}
	return &Wait{
		Reason:  v1alpha1.ReasonBackOff,
		Message: fmt.Sprintf("%s, %d in a row: %s", end.Reason, end.InARow, end.Message),
		Until:   until,
	}
}
