package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// HistoryKind tells the two kinds of what a history is made of.
type HistoryKind string

// Kinds of history entries.
const (
	// HistoryOperation is something that Runtime Manager did, or tried to.
	HistoryOperation HistoryKind = "Operation"
	// HistoryHealth is something that happened to the game.
	HistoryHealth HistoryKind = "HealthEvent"
)

// GameRuntimeHistory is the story of one game: what was done to it and what
// happened to it. It outlives the record, and is read only: the subresource
// history of a GameRuntime.
// +kubebuilder:object:root=true
type GameRuntimeHistory struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items are in the order of their times, the newest last.
	Items []HistoryEntry `json:"items"`
}

// HistoryEntry is one operation or one health event.
type HistoryEntry struct {
	// At is when an operation began, or the event happened.
	At   metav1.MicroTime `json:"at"`
	Kind HistoryKind      `json:"kind"`
	// What is the operation's action, or the health event's type.
	What string `json:"what"`
	// Outcome is Succeeded, Failed or Unknown; an operation that is still under
	// way has none, and neither has an event.
	Outcome string `json:"outcome,omitempty"`
	// Code is what a client may act upon when an operation failed.
	Code string `json:"code,omitempty"`
	// By is who asked for the operation.
	By string `json:"by,omitempty"`
	// Duration is how long the operation took.
	Duration *metav1.Duration `json:"duration,omitempty"`
	// Message is for people.
	Message string `json:"message,omitempty"`
	// Container is the id of the container that it was about.
	Container string `json:"container,omitempty"`
	// Operation is the id of the operation; an event names the one that caused it.
	Operation string `json:"operation,omitempty"`
	// Details is an object: what else is known, by its type.
	Details *runtime.RawExtension `json:"details,omitempty"`
}
