package enginetest

import (
	"path"
	"slices"

	"galaxy.io/runtime-manager/pkg/engine"
)

// made is what an inspect shows of a specification: the image's defaults where
// it was silent, and lists in order.
func made(spec engine.ContainerSpec) *engine.ContainerSpec {
	spec.Labels = nil
	if len(spec.Entrypoint) == 0 {
		spec.Entrypoint = []string{GamePath}
	}
	if spec.User == "" {
		spec.User = GameUser
	}
	spec.Env, spec.AddCapabilities, spec.Ports = slices.Clone(spec.Env), slices.Clone(spec.AddCapabilities), slices.Clone(spec.Ports)
	slices.Sort(spec.Env)
	slices.Sort(spec.AddCapabilities)
	slices.SortFunc(spec.Ports, engine.PortSpec.Compare)
	if spec.StateTarget == "" {
		spec.StateSource = ""
	} else {
		spec.StateTarget = path.Clean(spec.StateTarget)
	}
	return &spec
}

// remake changes what is shown, in a copy: what was handed out stays as it was.
func (c *simContainer) remake(change func(*engine.ContainerSpec)) {
	shown := *c.Made
	change(&shown)
	c.Made = &shown
}
