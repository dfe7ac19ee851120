package plan

import (
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Brake holds back what would replace containers that vanished, many together:
// that is a trouble of the engine or its host, and not of the games. Until it is
// released the records keep what they know of their containers.
type Brake struct {
	Since time.Time
	// Message says what happened and how the brake is released.
	Message string
}

// Vanished says that a record's container is not on an engine that was listed,
// and that the record does not say so yet.
func Vanished(record *v1alpha1.GameRuntime, view engine.View) bool {
	recorded := record.Status.Container
	return recorded != nil && recorded.State != v1alpha1.ContainerRemoved && view.Seen && len(view.Containers) == 0
}

// frozen holds back a container in the place of one that vanished with others.
func frozen(in Input, next Action) *Wait {
	if in.Brake == nil {
		return nil
	}
	switch next.(type) {
	case PullImage, CreateContainer, StartContainer:
		return &Wait{Reason: v1alpha1.ReasonMassVanish, Message: in.Brake.Message}
	}
	return nil
}
