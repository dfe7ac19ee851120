package plan

import (
	"fmt"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Action is one step. The set is closed: execute, status and reports know them all.
type Action interface {
	fmt.Stringer
	action()
}

// Wait does nothing until a moment, or until a source wakes the record.
type Wait struct {
	Reason  string
	Message string
	// Until is when to look again; zero if only a source ends the wait.
	Until time.Time
	// Deadline is when the work that is waited for is given up.
	Deadline time.Time
}

// PullImage fetches the game image.
type PullImage struct{ Ref string }

// CreateContainer makes the game's container, stopped.
type CreateContainer struct{ Spec engine.ContainerSpec }

// StartContainer starts it. ID is empty in a plan that creates it first.
type StartContainer struct{ ID string }

// StopContainer stops it; Cause and Why are what its end will be recorded as.
type StopContainer struct {
	ID     string
	Signal string
	// Grace is shared by PreStop, which runs first if it is not nil, and the stop.
	Grace   time.Duration
	PreStop *v1alpha1.LifecycleHandler
	Cause   v1alpha1.TerminationReason
	Why     string
}

// RenameContainer gives it another name.
type RenameContainer struct {
	ID   string
	Name string
}

// RemoveContainer removes it; the state directory stays.
type RemoveContainer struct{ ID string }

// UpdateResources changes its limits without a restart.
type UpdateResources struct {
	ID        string
	Resources engine.Resources
}

// AdoptContainer makes a record from a container that has none.
type AdoptContainer struct{ ID string }

// RemoveState removes the game's state directory: only for a record that is
// being deleted and says reclaimPolicy Delete.
type RemoveState struct{ Game engine.GameID }

func (Wait) action()            {}
func (PullImage) action()       {}
func (CreateContainer) action() {}
func (StartContainer) action()  {}
func (StopContainer) action()   {}
func (RenameContainer) action() {}
func (RemoveContainer) action() {}
func (UpdateResources) action() {}
func (RemoveState) action()     {}
func (AdoptContainer) action()  {}

func (a Wait) String() string {
	if a.Until.IsZero() {
		return fmt.Sprintf("wait: %s", a.Message)
	}
	return fmt.Sprintf("wait until %s: %s", a.Until.UTC().Format(time.RFC3339), a.Message)
}
func (a StopContainer) String() string {
	if a.PreStop != nil {
		return "run preStop and stop container" + withID(a.ID)
	}
	return "stop container" + withID(a.ID)
}
func (a PullImage) String() string       { return "pull image " + a.Ref }
func (a CreateContainer) String() string { return "create container " + a.Spec.Name }
func (a StartContainer) String() string  { return "start container" + withID(a.ID) }
func (a RenameContainer) String() string { return "rename container" + withID(a.ID) + " to " + a.Name }
func (a RemoveContainer) String() string { return "remove container" + withID(a.ID) }
func (a UpdateResources) String() string { return "update resources of container" + withID(a.ID) }
func (a RemoveState) String() string     { return "remove state directory of " + a.Game.String() }
func (a AdoptContainer) String() string  { return "adopt container" + withID(a.ID) }

func withID(id string) string {
	if len(id) > 12 {
		id = id[:12]
	}
	if id == "" {
		return ""
	}
	return " " + id
}

// doing is the reason of a condition while an action is under way.
func doing(a Action) string {
	switch a := a.(type) {
	case Wait:
		return a.Reason
	case PullImage:
		return v1alpha1.ReasonPulling
	case CreateContainer:
		return v1alpha1.ReasonCreating
	case StartContainer:
		return v1alpha1.ReasonStarting
	case StopContainer:
		return v1alpha1.ReasonStopping
	case RenameContainer:
		return v1alpha1.ReasonRenaming
	case RemoveContainer:
		return v1alpha1.ReasonRemoving
	case UpdateResources:
		return v1alpha1.ReasonUpdating
	case RemoveState:
		return v1alpha1.ReasonRemovingState
	case AdoptContainer:
		return v1alpha1.ReasonAdopted
	}
	panic(fmt.Sprintf("plan: unknown action %T", a))
}
