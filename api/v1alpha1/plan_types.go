package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GameRuntimePlan is what would be done to one game if its record were as it was
// asked about, or is to be done as it stands: the answer of the subresource plan
// of a GameRuntime. To ask changes nothing.
// +kubebuilder:object:root=true
type GameRuntimePlan struct {
	metav1.TypeMeta `json:",inline"`

	// Game is the namespace and name of the record: namespace/name.
	Game string `json:"game"`
	// Engine is the container engine that was looked at; empty before it answered.
	Engine string `json:"engine,omitempty"`
	// InSync says that there is nothing to do.
	InSync bool `json:"inSync"`
	// StopsGame says that the game, which runs, would be stopped, if only to be
	// started again. It is false where that waits for a person to allow it.
	StopsGame bool `json:"stopsGame"`
	// Actions are in order: the first is done at once, each other one if nothing
	// else happens before.
	Actions []PlannedAction `json:"actions"`
	// Drift is where the engine would differ from the record, by field.
	Drift []Drift `json:"drift,omitempty"`
}

// ActionWait and ActionPull are steps of a plan which change no container, and so
// are no operations.
const (
	ActionWait = "wait"
	ActionPull = "pull"
)

// PlannedAction is one step of a plan.
type PlannedAction struct {
	// Action is wait, pull, or what the operation will be called in the game's
	// history.
	Action string `json:"action"`
	// Message says it to people.
	Message string `json:"message"`
	// Reason is why it is done, or what is waited for.
	Reason string `json:"reason,omitempty"`
	// StopsGame says that it ends the run of a game that runs.
	StopsGame bool `json:"stopsGame,omitempty"`
	// Destructive says that it removes the game's state.
	Destructive bool `json:"destructive,omitempty"`
	// Until is when a wait ends by itself.
	Until *metav1.MicroTime `json:"until,omitempty"`
}
