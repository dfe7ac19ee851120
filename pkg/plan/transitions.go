package plan

import "galaxy.io/runtime-manager/api/v1alpha1"

// transitions are the only ways in which the recorded state of one container
// changes. What was removed never comes back: a new container has a new id.
var transitions = map[v1alpha1.ContainerState][]v1alpha1.ContainerState{
	v1alpha1.ContainerRunning: {v1alpha1.ContainerStopped, v1alpha1.ContainerRemoved},
	v1alpha1.ContainerStopped: {v1alpha1.ContainerRunning, v1alpha1.ContainerRemoved},
}

// legal says whether a container's recorded state may change so, or stay.
func legal(from, to v1alpha1.ContainerState) bool {
	if from == to {
		return true
	}
	for _, next := range transitions[from] {
		if next == to {
			return true
		}
	}
	return false
}
