package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Status is the whole status of a record: what was observed, what is planned
// and what it waits for.
func Status(in Input, p Plan) v1alpha1.GameRuntimeStatus {
	in.Health = verdicts(in)
	status := *in.Record.Status.DeepCopy()
	if in.View.Seen && in.Brake == nil {
		recorded := status.LastTermination
		status.LastTermination = lastTermination(in)
		if status.LastTermination != nil && in.Record.Spec.State == v1alpha1.StateStopped {
			status.LastTermination.Settled = true
		}
		status.Restarts += restarted(recorded, status.LastTermination)
		status.Container = containerStatus(in)
	}
	status.Health = in.Health
	status.Drift = drift(in, p)
	status.Rollback = rollback(in)
	status.LastOperation = lastOperation(in)
	status.Retried = in.Record.Annotations[v1alpha1.AnnotationRetry]
	status.Pending = pending(in, p)
	status.Phase = phase(in, p)
	status.Conditions = conditions(in, p)
	status.ObservedGeneration = in.Record.Generation
	return status
}

// restarted counts one start after an end that nobody asked for, once.
func restarted(recorded, last *v1alpha1.Termination) int32 {
	if last == nil || last.InARow == 0 || last.Settled || last.RestartedAt == nil {
		return 0
	}
	if recorded.RestartedAt != nil {
		return 0
	}
	return 1
}

func containerStatus(in Input) *v1alpha1.ContainerStatus {
	recorded := in.Record.Status.Container
	if missing(in) != nil && vanished(in) == nil {
		return recorded // what became of it is told first
	}
	c, _ := choose(in)
	if c == nil {
		return removed(recorded)
	}
	same := recorded != nil && recorded.ID == c.ID
	status := &v1alpha1.ContainerStatus{
		ID: c.ID, Name: c.Name, Image: c.Image, ImageDigest: c.ImageID, RepoDigest: c.RepoDigest,
		State: v1alpha1.ContainerStopped, StartedAt: microTime(c.StartedAt), Engine: in.Fleet.Info.Name,
		SpecHash: shortHash(c.SpecHash),
	}
	if alive(c) {
		status.State = v1alpha1.ContainerRunning
		status.Endpoint = Endpoint(in.Record)
		status.HostPorts = hostPorts(in.Record, c)
	}
	if same && status.RepoDigest == "" {
		status.RepoDigest = recorded.RepoDigest // the engine may not have told of its images yet
	}
	if same && !legal(recorded.State, status.State) {
		return recorded
	}
	if same && !c.Inspected {
		status.StartedAt = recorded.StartedAt // as far as is known
		if recorded.State == status.State {
			status.HostPorts = recorded.HostPorts
		}
	}
	tellRun(in, c, status)
	return status
}

func removed(recorded *v1alpha1.ContainerStatus) *v1alpha1.ContainerStatus {
	if recorded == nil {
		return nil
	}
	gone := recorded.DeepCopy()
	gone.State, gone.Endpoint, gone.HostPorts = v1alpha1.ContainerRemoved, "", nil
	return gone
}

func hostPorts(record *v1alpha1.GameRuntime, c *engine.Container) map[string]int32 {
	published := map[string]int32{}
	for _, p := range record.Spec.Ports {
		if host, ok := c.HostPorts[portKey(p)]; ok && p.HostPort != nil {
			published[p.Name] = host
		}
	}
	if len(published) == 0 {
		return nil
	}
	return published
}

// pending says what a record that is not converged waits for.
func pending(in Input, p Plan) *v1alpha1.Pending {
	failed := failure(in)
	var waits *v1alpha1.Pending
	switch next := p.Next().(type) {
	case nil:
		waits = awaitedProbe(in)
	case Wait:
		if failed != nil && failed.NextTry != nil && next.Until.Equal(failed.NextTry.Time) {
			waits = failed.DeepCopy()
			break
		}
		waits = &v1alpha1.Pending{Reason: next.Reason, Message: next.Message, NextTry: microTime(next.Until), Deadline: metaTime(next.Deadline)}
	default:
		waits = &v1alpha1.Pending{Reason: doing(next), Message: next.String(), NextTry: microTime(in.Now)}
	}
	if waits == nil {
		return nil
	}
	if failed != nil && waits.Reason != v1alpha1.ReasonRolledBack {
		waits.Failures = failed.Failures
	}
	waits.Since = metav1.NewTime(in.Now.Truncate(time.Second))
	if previous := in.Record.Status.Pending; previous != nil && previous.Reason == waits.Reason {
		waits.Since = previous.Since
	}
	return waits
}

// awaitedProbe is the probe that a running game is not ready for.
func awaitedProbe(in Input) *v1alpha1.Pending {
	c, _ := choose(in)
	if c == nil || !alive(c) {
		return nil
	}
	reason, message := probing(in)
	if reason == "" {
		return nil
	}
	return &v1alpha1.Pending{Reason: reason, Message: message}
}

// phase sums the rest up in one word for people.
func phase(in Input, p Plan) v1alpha1.Phase {
	if !in.Record.DeletionTimestamp.IsZero() {
		return v1alpha1.PhaseRemoving
	}
	if p.runsOn(in) {
		return settledPhase(in)
	}
	switch next := p.Next().(type) {
	case nil:
		return settledPhase(in)
	case Wait:
		if len(p.Actions) > 1 && runsMeanwhile(in, p.Actions[1]) {
			return v1alpha1.PhaseRunning
		}
		return waitingPhase(in, next)
	case PullImage:
		return v1alpha1.PhasePulling
	case StopContainer, RemoveContainer, RemoveState:
		return v1alpha1.PhaseStopping
	default:
		return v1alpha1.PhaseStarting
	}
}

// runsMeanwhile says that the game runs on while the next action is awaited: an
// image is pulled before its container is touched.
func runsMeanwhile(in Input, next Action) bool {
	_, pull := next.(PullImage)
	c, _ := choose(in)
	return pull && c != nil && alive(c)
}

func settledPhase(in Input) v1alpha1.Phase {
	c, _ := choose(in)
	if c != nil && alive(c) {
		if reason, _ := probing(in); reason == v1alpha1.ReasonProbing {
			return v1alpha1.PhaseStarting
		}
		return v1alpha1.PhaseRunning
	}
	end := lastTermination(in)
	if in.Record.Spec.State == v1alpha1.StateStopped || end == nil || end.Reason == v1alpha1.TerminationCompleted {
		return v1alpha1.PhaseStopped
	}
	return v1alpha1.PhaseFailed
}

func waitingPhase(in Input, wait Wait) v1alpha1.Phase {
	switch wait.Reason {
	case v1alpha1.ReasonPulling:
		return v1alpha1.PhasePulling
	case v1alpha1.ReasonCreating, v1alpha1.ReasonStarting:
		return v1alpha1.PhaseStarting
	case v1alpha1.ReasonStopping, v1alpha1.ReasonRemoving:
		return v1alpha1.PhaseStopping
	case v1alpha1.ReasonPaused, v1alpha1.ReasonObserved:
		if c, _ := choose(in); c == nil {
			return v1alpha1.PhasePending
		}
		return settledPhase(in)
	case v1alpha1.ReasonMassVanish:
		return v1alpha1.PhasePending
	case v1alpha1.ReasonEngineUnreachable, v1alpha1.ReasonEngineNotSeen, v1alpha1.ReasonEngineTimeout, v1alpha1.ReasonUnresponsive:
		if before := in.Record.Status.Phase; before != "" {
			return before
		}
		return v1alpha1.PhasePending
	default:
		return v1alpha1.PhaseFailed
	}
}

func metaTime(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	m := metav1.NewTime(t.Truncate(time.Second))
	return &m
}
