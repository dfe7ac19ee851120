package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GameRuntimeStats is what a running game uses at the moment: the subresource
// stats of a GameRuntime. Nobody keeps it.
// +kubebuilder:object:root=true
type GameRuntimeStats struct {
	metav1.TypeMeta `json:",inline"`

	// Game is the game's namespace and name, as in default/chess.
	Game string `json:"game"`
	// Container is the id of the container that was looked at.
	Container string `json:"container"`
	// At is the end of the time that was looked at, Window its length.
	At     metav1.MicroTime `json:"at"`
	Window metav1.Duration  `json:"window"`
	Usage  StatsUsage       `json:"usage"`
	// Limits are those that the container has by now.
	Limits StatsLimits `json:"limits,omitzero"`
	// Network and Disk count from the start of the container.
	Network StatsNetwork `json:"network"`
	Disk    StatsDisk    `json:"disk"`
}

// StatsUsage is what a game takes of its machine.
type StatsUsage struct {
	// CPU is in cores, the mean over the window.
	CPU resource.Quantity `json:"cpu"`
	// Memory is the working set, in bytes, as docker stats shows it.
	Memory resource.Quantity `json:"memory"`
	Pids   int64             `json:"pids"`
}

// StatsLimits are a container's limits. What is missing is unlimited, or not
// known yet.
type StatsLimits struct {
	CPU    *resource.Quantity `json:"cpu,omitempty"`
	Memory *resource.Quantity `json:"memory,omitempty"`
	Pids   *int64             `json:"pids,omitempty"`
}

// StatsNetwork is what went over the network, in bytes.
type StatsNetwork struct {
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`
}

// StatsDisk is what was read from block devices and written to them, in bytes.
type StatsDisk struct {
	Read    int64 `json:"read"`
	Written int64 `json:"written"`
}
