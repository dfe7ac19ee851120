package docker

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"galaxy.io/runtime-manager/pkg/engine"
)

// made is toConfig read backwards. Lists whose order says nothing are sorted, so
// that two looks at one container are equal; the slices are the answer's own.
func made(found container.InspectResponse) *engine.ContainerSpec {
	config, host := found.Config, found.HostConfig
	slices.Sort(config.Env)
	spec := &engine.ContainerSpec{
		Name:            strings.TrimPrefix(found.Name, "/"),
		Image:           config.Image,
		Entrypoint:      config.Entrypoint,
		Args:            config.Cmd,
		Env:             config.Env,
		WorkingDir:      config.WorkingDir,
		User:            config.User,
		ReadOnlyRoot:    host.ReadonlyRootfs,
		AddCapabilities: capabilities(host.CapAdd),
		StopSignal:      config.StopSignal,
		Ports:           fromPorts(config.ExposedPorts, host.PortBindings),
		Resources:       fromResources(host.Resources),
	}
	if name, endpoint := homeNetwork(found); endpoint != nil {
		spec.Network, spec.Alias = name, alias(endpoint, found.ID)
	}
	spec.StateSource, spec.StateTarget = stateMount(found.Mounts)
	return spec
}

// homeNetwork is the network that a container was created on, and its endpoint
// there: nil after somebody disconnected it. A person may have added others.
func homeNetwork(found container.InspectResponse) (string, *network.EndpointSettings) {
	name := string(found.HostConfig.NetworkMode)
	if name == network.NetworkDefault {
		name = network.NetworkBridge
	}
	if found.NetworkSettings == nil {
		return name, nil
	}
	networks := found.NetworkSettings.Networks
	if networks[name] == nil && name == network.NetworkBridge && len(networks) == 1 {
		for only, endpoint := range networks { // Podman names the driver, not the network
			return only, endpoint
		}
	}
	return name, networks[name]
}

// alias is the first name that was asked for. Engines before API 1.45 add the
// container's short id to the aliases.
func alias(endpoint *network.EndpointSettings, id string) string {
	for _, name := range endpoint.Aliases {
		if name != short(id) {
			return name
		}
	}
	return ""
}

// stateMount is the one directory of the host that a container of ours has.
// Somebody else's may have several: then it is the first by target.
func stateMount(mounts []container.MountPoint) (source, target string) {
	for _, m := range mounts {
		if m.Type == mount.TypeBind && (target == "" || m.Destination < target) {
			source, target = m.Source, path.Clean(m.Destination)
		}
	}
	return source, target
}

// capabilities drops the prefix that engines put before the names.
func capabilities(added []string) []string {
	for i, name := range added {
		added[i] = strings.TrimPrefix(name, "CAP_")
	}
	slices.Sort(added)
	return added
}

func fromPorts(exposed nat.PortSet, published nat.PortMap) []engine.PortSpec {
	var ports []engine.PortSpec
	for port, bindings := range published {
		for _, binding := range bindings {
			host, err := strconv.ParseInt(binding.HostPort, 10, 32)
			if err != nil {
				host = 0 // none, or a range: the engine picks
			}
			number := int32(host)
			ports = append(ports, engine.PortSpec{PortKey: portKey(port), HostPort: &number})
		}
	}
	for port := range exposed {
		if len(published[port]) == 0 {
			ports = append(ports, engine.PortSpec{PortKey: portKey(port)})
		}
	}
	slices.SortFunc(ports, engine.PortSpec.Compare)
	return ports
}

func portKey(port nat.Port) engine.PortKey {
	return engine.PortKey{Port: int32(port.Int()), Protocol: port.Proto()}
}
