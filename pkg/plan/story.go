package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Note is one line of a game's story, for Events and the log.
type Note struct {
	// Type is Normal or Warning.
	Type    string
	Reason  string
	Message string
}

// Story tells what changed between two statuses: one note a transition, none
// for a retry that failed as the one before.
func Story(before, after v1alpha1.GameRuntimeStatus) []Note {
	var story []Note
	tell := func(kind, reason, format string, args ...any) {
		story = append(story, Note{Type: kind, Reason: reason, Message: fmt.Sprintf(format, args...)})
	}
	tellEnd(before, after, tell)
	tellContainer(before.Container, after.Container, tell)
	tellDrift(before, after, tell)
	tellHealth(before.Health, after.Health, tell)
	tellPending(before, after, tell)
	tellReady(before, after, tell)
	return story
}

type teller func(kind, reason, format string, args ...any)

func tellEnd(before, after v1alpha1.GameRuntimeStatus, tell teller) {
	end := after.LastTermination
	if end == nil || sameEnd(before.LastTermination, end) {
		return
	}
	switch {
	case neverRan(end.Reason): // nothing ended: what the record waits for tells it
	case end.Reason == v1alpha1.TerminationStoppedByUs:
		tell(corev1.EventTypeNormal, v1alpha1.ReasonEnded, "%s, exit code %d", end.Message, end.ExitCode)
	case end.Reason == v1alpha1.TerminationCompleted:
		tell(corev1.EventTypeNormal, v1alpha1.ReasonExited, "Completed: %s", end.Message)
	case end.Disappeared:
		tell(corev1.EventTypeWarning, v1alpha1.ReasonVanished, "%s", end.Message)
	default:
		tell(corev1.EventTypeWarning, v1alpha1.ReasonExited, "%s: %s", end.Reason, end.Message)
	}
}

func tellContainer(before, after *v1alpha1.ContainerStatus, tell teller) {
	if after == nil {
		return
	}
	if before == nil {
		before = &v1alpha1.ContainerStatus{}
	}
	created := before.ID != after.ID && after.State != v1alpha1.ContainerRemoved
	broughtBack := created && after.State == v1alpha1.ContainerStopped && after.StartedAt != nil
	if created && !broughtBack {
		tell(corev1.EventTypeNormal, v1alpha1.ReasonCreated, "created container %s from %s", after.Name, after.Image)
	}
	tellStart(before, after, tell)
	if before.ID == after.ID && before.State == v1alpha1.ContainerStopped && after.State == v1alpha1.ContainerRemoved {
		tell(corev1.EventTypeNormal, v1alpha1.ReasonRemoved, "container %s is gone from the engine", after.Name)
	}
}

func tellStart(before, after *v1alpha1.ContainerStatus, tell teller) {
	same := before.ID == after.ID
	runsOn := same && before.State == v1alpha1.ContainerRunning && before.StartedAt.Equal(after.StartedAt)
	switch {
	case same && after.UnexpectedStarts > before.UnexpectedStarts:
		tell(corev1.EventTypeWarning, v1alpha1.ReasonUnexpectedStart, "somebody else started container %s", after.Name)
	case after.State == v1alpha1.ContainerRunning && !runsOn:
		tell(corev1.EventTypeNormal, v1alpha1.ReasonStarted, "started container %s", after.Name)
	}
}

// tellDrift tells of what nobody wrote into the record: a container that was
// changed by hand, or is there twice, and an image that moved. What vanished and
// what exited has its own note.
func tellDrift(before, after v1alpha1.GameRuntimeStatus, tell teller) {
	edited := before.ObservedGeneration != after.ObservedGeneration || after.Rollback != nil
	for _, d := range after.Drift {
		switch {
		case has(before.Drift, d), d.Kind == v1alpha1.DriftSpecMismatch && edited:
		case d.Kind == v1alpha1.DriftImageMoved:
			tell(corev1.EventTypeNormal, v1alpha1.ReasonImageMoved, "the image names %s now, the container runs %s", d.Desired, d.Actual)
		case d.Kind == v1alpha1.DriftSpecMismatch:
			tell(corev1.EventTypeWarning, v1alpha1.ReasonDrifted, "%s is %q, not %q", d.Field, d.Actual, d.Desired)
		case d.Kind == v1alpha1.DriftDuplicateContainer:
			tell(corev1.EventTypeWarning, v1alpha1.ReasonDrifted, "there is a second %s, %s", d.Field, d.Actual)
		}
	}
	if slices.ContainsFunc(before.Drift, ofContainer) && len(after.Drift) == 0 && !edited {
		tell(corev1.EventTypeNormal, v1alpha1.ReasonDriftMended, "the engine shows what the record declares")
	}
}

// ofContainer says that a drift is in a container, and not that one has to be
// started or stopped.
func ofContainer(d v1alpha1.Drift) bool {
	return d.Kind == v1alpha1.DriftSpecMismatch || d.Kind == v1alpha1.DriftDuplicateContainer
}

func has(all []v1alpha1.Drift, d v1alpha1.Drift) bool {
	return slices.ContainsFunc(all, func(known v1alpha1.Drift) bool { return known.Kind == d.Kind && known.Field == d.Field })
}

// tellPending tells of slow work that begins and of what keeps a record waiting.
func tellPending(before, after v1alpha1.GameRuntimeStatus, tell teller) {
	was := v1alpha1.Pending{}
	if before.Pending != nil {
		was = *before.Pending
	}
	now := after.Pending
	if was.Reason == v1alpha1.ReasonPulling && (now == nil || now.Failures == 0 && now.Reason != v1alpha1.ReasonPulling) {
		tell(corev1.EventTypeNormal, v1alpha1.ReasonPulled, "pulled the image")
	}
	if now == nil || now.Reason == was.Reason {
		return
	}
	switch now.Reason {
	case v1alpha1.ReasonPulling, v1alpha1.ReasonStopping, v1alpha1.ReasonUpdating, v1alpha1.ReasonRemovingState,
		v1alpha1.ReasonPaused, v1alpha1.ReasonObserved:
		tell(corev1.EventTypeNormal, now.Reason, "%s", now.Message)
	case v1alpha1.ReasonRolledBack, v1alpha1.ReasonProbeRestartLimit:
		tell(corev1.EventTypeWarning, now.Reason, "%s", now.Message)
	case v1alpha1.ReasonEngineUnreachable, v1alpha1.ReasonEngineNotSeen:
		// the engine's own story, told once by the mirror and not by each game
	default:
		if now.Failures > 0 {
			tell(corev1.EventTypeWarning, now.Reason, "%s", now.Message)
		}
	}
}

func tellReady(before, after v1alpha1.GameRuntimeStatus, tell teller) {
	was := meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionReady)
	is := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionReady)
	if !was && is != nil && is.Status == "True" {
		tell(corev1.EventTypeNormal, v1alpha1.ReasonReady, "the game is ready")
	}
}
