package plan

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// deeds are what somebody else did to the containers of a world, and what the
// record has to tell of it.
type deeds struct {
	// started and removed name the containers that it was done to.
	started, removed map[string]bool
	// owed are the removed ones whose run the record told of, and the end of it
	// not: that they disappeared has to be told. told are those that it was.
	owed, told map[string]bool
	// byProbes counts the ends in a row, as told, that a probe made us end.
	byProbes int32
}

func newDeeds() deeds {
	return deeds{started: map[string]bool{}, removed: map[string]bool{}, owed: map[string]bool{}, told: map[string]bool{}}
}

// noteVanished notes that somebody removes a container.
func (w *world) noteVanished(c *engine.Container) {
	w.deeds.removed[c.ID] = true
	status := w.in.Record.Status
	recorded, last := status.Container, status.LastTermination
	if recorded == nil || recorded.ID != c.ID || recorded.StartedAt == nil || !recorded.StartedAt.Equal(microTime(c.StartedAt)) {
		return
	}
	ended := last != nil && last.ContainerID == c.ID && !last.FinishedAt.Before(recorded.StartedAt)
	w.deeds.owed[c.ID] = !ended
}

// removes says that a removal of a container is ours, as far as we can know.
func (w *world) removes(id string) bool {
	return slices.ContainsFunc(w.in.Intents, func(i Intent) bool {
		return i.Container == id && i.Action == v1alpha1.ActionRemove && i.Outcome != v1alpha1.OperationFailed
	})
}

// checkDeeds: what somebody else did is told, once, and nothing of what we did is
// called their doing.
func (w *world) checkDeeds(before, after v1alpha1.GameRuntimeStatus) {
	if end := after.LastTermination; end != nil && !sameEnd(before.LastTermination, end) {
		id := end.ContainerID
		w.countByProbe(end)
		if end.Disappeared {
			gone := w.deeds.removed[id] || w.find(id) == nil && !slices.ContainsFunc(w.in.Intents, func(i Intent) bool { return i.Container == id })
			require.True(w.t, gone, "a container of ours is told to have disappeared")
			require.False(w.t, w.deeds.told[id], "a container disappears twice")
			w.deeds.told[id] = true
		}
		seen := find(w.in.View, id) != nil
		if end.Disappeared || seen || w.removes(id) {
			delete(w.deeds.owed, id)
		}
	}
	was, is := before.Container, after.Container
	if is == nil {
		return
	}
	if was != nil && was.ID != is.ID && find(w.in.View, was.ID) != nil {
		delete(w.deeds.owed, was.ID) // another one was recorded in its place before
	}
	same := was != nil && was.ID == is.ID
	if same && is.UnexpectedStarts > was.UnexpectedStarts {
		require.True(w.t, w.deeds.started[is.ID], "a start of ours is called somebody else's")
		require.Empty(w.t, is.StartedBy)
	}
	if is.StartedBy != "" && (!same || was.StartedBy != is.StartedBy) {
		require.True(w.t, slices.ContainsFunc(w.in.Intents, func(i Intent) bool {
			return i.ID == is.StartedBy && i.Action == v1alpha1.ActionStart && i.Container == is.ID
		}), "who began a run is one of our starts")
	}
}

// judge is a change of a verdict.
func (w *world) judge(verdict string) {
	if w.verdict != verdict {
		w.verdict, w.since = verdict, w.in.Now
	}
}

// well is what becomes of a game that is started: a calm one is well, if it is
// not one that a limit keeps from being started again and again.
func (w *world) well() []string {
	if w.calm && w.in.Record.Spec.Probes.MaxRestarts == nil {
		return []string{succeeding}
	}
	return []string{succeeding, failing}
}

func (w *world) countByProbe(end *v1alpha1.Termination) {
	long := w.in.Record.Spec.Backoff.ResetAfter.Duration
	if end.Reason == v1alpha1.TerminationStoppedByUs || end.StartedAt != nil && end.FinishedAt.Sub(end.StartedAt.Time) >= long {
		w.deeds.byProbes = 0
	}
	if end.Reason == v1alpha1.TerminationProbeFailed {
		w.deeds.byProbes++
	}
}

// checkProbeStop: a probe has a game restarted once it has failed for long
// enough, and not too many times in a row.
func (w *world) checkProbeStop(next Action) {
	stop, ok := next.(StopContainer)
	if !ok || stop.Cause != v1alpha1.TerminationProbeFailed {
		return
	}
	probes, c := w.in.Record.Spec.Probes, find(w.in.View, stop.ID)
	require.NotEqual(w.t, readiness, w.probe)
	since := w.since
	if told := verdictOf(w.in.Record.Status.Health, w.probe); told != nil && told.FailedAt != nil && told.FailedAt.Time.Before(since) {
		since = told.FailedAt.Time
	}
	require.GreaterOrEqual(w.t, w.in.Now.Sub(since), time.Duration(probes.RestartAfterSeconds)*time.Second, "it has not failed for long enough")
	long := w.in.Now.Sub(c.StartedAt) >= w.in.Record.Spec.Backoff.ResetAfter.Duration
	retry := w.in.Record.Annotations[v1alpha1.AnnotationRetry] != ""
	require.True(w.t, probes.MaxRestarts == nil || w.deeds.byProbes < *probes.MaxRestarts || long || retry, "restarted too often by its probes")
}

// checkOwed: in the end all is told.
func (w *world) checkOwed() {
	for id, owed := range w.deeds.owed {
		require.True(w.t, !owed || w.removes(id), "that container %s disappeared was never told", id)
	}
}

// settleIntents is what becomes of intents once a status is written: those that
// the view decides are decided, and of the decided starts the last ones are kept.
func (w *world) settleIntents() {
	for _, settled := range Settled(w.in) {
		for i := range w.in.Intents {
			if w.in.Intents[i].ID == settled.ID {
				w.in.Intents[i] = settled
			}
		}
	}
	var kept []Intent
	starts := 0
	for _, i := range slices.Backward(w.in.Intents) {
		if i.Action == v1alpha1.ActionStart {
			starts++
		}
		decided := i.Outcome == v1alpha1.OperationSucceeded || i.Outcome == v1alpha1.OperationFailed
		if i.Action != v1alpha1.ActionStart || !decided || starts <= 4 {
			kept = append(kept, i)
		}
	}
	slices.Reverse(kept)
	w.in.Intents = kept
}
