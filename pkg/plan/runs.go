package plan

import (
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// sameRun says that a container is in the run that the record tells of, or
// ended it. What only a list told may be in any.
func sameRun(recorded *v1alpha1.ContainerStatus, c *engine.Container) bool {
	return recorded != nil && recorded.ID == c.ID && (!c.Inspected || recorded.StartedAt.Equal(microTime(c.StartedAt)))
}

// began is when the present run of a container began, as far as is known: what a
// list told may have begun now.
func began(in Input, c *engine.Container) time.Time {
	recorded := in.Record.Status.Container
	switch {
	case c.Inspected:
		return c.StartedAt
	case recorded != nil && recorded.ID == c.ID && recorded.StartedAt != nil:
		return recorded.StartedAt.Time
	default:
		return in.Now
	}
}

// tellRun says who began the present or last run of a container. A run that is
// told stays as it was told: what explained it may be forgotten.
func tellRun(in Input, c *engine.Container, status *v1alpha1.ContainerStatus) {
	recorded := in.Record.Status.Container
	if recorded == nil || recorded.ID != c.ID {
		status.StartedBy = ourStart(in, c, "")
		return
	}
	status.StartedBy, status.UnexpectedStarts = recorded.StartedBy, recorded.UnexpectedStarts
	if sameRun(recorded, c) {
		return
	}
	status.StartedBy = ourStart(in, c, recorded.StartedBy)
	if status.StartedBy == "" && recorded.StartedAt != nil {
		status.UnexpectedStarts++
	}
}

// ourStart is the operation of ours that began a container's run; "" if none is
// known that did. The one that began the run before began no other.
func ourStart(in Input, c *engine.Container, before string) string {
	by := ""
	for i := range in.Intents {
		if start := &in.Intents[i]; start.ID != before && start.begins(c) {
			by = start.ID
		}
	}
	return by
}

// begins says that a start is why a container runs since it does: it was asked
// for, and the engine did not say that it could not.
func (i *Intent) begins(c *engine.Container) bool {
	return i.Action == v1alpha1.ActionStart && i.Container == c.ID && i.Outcome != v1alpha1.OperationFailed &&
		!c.StartedAt.Before(i.At.Add(-clockTolerance)) && !c.StartedAt.After(i.Deadline.Add(clockTolerance))
}
