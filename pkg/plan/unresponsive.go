package plan

import (
	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// unresponsive holds back what would only hang on a container that the engine
// does not answer for. A stop and a removal are tried all the same: they are
// what may free it.
func unresponsive(in Input, next Action) *Wait {
	var id string
	switch next := next.(type) {
	case StartContainer:
		id = next.ID
	case UpdateResources:
		id = next.ID
	case RenameContainer:
		id = next.ID
	}
	if c := find(in.View, id); c != nil && c.Unresponsive {
		return &Wait{Reason: v1alpha1.ReasonUnresponsive, Message: "the engine does not answer for container" + withID(c.ID)}
	}
	return nil
}

// awaitFacts waits until the engine tells how a container ended.
func awaitFacts(c *engine.Container) Wait {
	reason := v1alpha1.ReasonEngineTimeout
	if c.Unresponsive {
		reason = v1alpha1.ReasonUnresponsive
	}
	return Wait{Reason: reason, Message: "the engine has not told yet how the container ended"}
}
