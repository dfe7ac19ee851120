package docker

import (
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
)

// beyond holds a container against what toConfig always sets: what it finds no
// record could ask for.
func beyond(found container.InspectResponse) []string {
	host := found.HostConfig
	var names []string
	for _, trait := range []struct {
		name string
		has  bool
	}{
		{"privileged", host.Privileged},
		{"capabilities that are not dropped", !slices.Contains(host.CapDrop, "ALL")},
		{"new privileges allowed", !slices.ContainsFunc(host.SecurityOpt, forbidsNewPrivileges)},
		{"a namespace of the host", sharesNamespace(host)},
		{"devices", len(host.Devices)+len(host.DeviceRequests) > 0},
		{"other mounts than the state directory", hasOtherMounts(found)},
		{"another tmpfs than /tmp", !hasOnlyTmp(host.Tmpfs)},
		{"a port on one address of the host", bindsAddress(host.PortBindings)},
		{"all its ports published", host.PublishAllPorts},
		{"removal when it ends", host.AutoRemove},
		{"restart policy " + string(host.RestartPolicy.Name), !host.RestartPolicy.IsNone()},
	} {
		if trait.has {
			names = append(names, trait.name)
		}
	}
	return names
}

func forbidsNewPrivileges(option string) bool {
	return option == "no-new-privileges" || option == "no-new-privileges:true" || option == "no-new-privileges=true"
}

func sharesNamespace(host *container.HostConfig) bool {
	return host.PidMode != "" || host.UTSMode != "" || host.UsernsMode != "" || host.NetworkMode.IsHost() ||
		host.IpcMode.IsHost() || host.IpcMode.IsContainer()
}

// hasOtherMounts counts what was asked for: volumes that the image declares are
// made for every container.
func hasOtherMounts(found container.InspectResponse) bool {
	asked := len(found.HostConfig.Binds) + len(found.HostConfig.Mounts) + len(found.HostConfig.VolumesFrom)
	if _, state := stateMount(found.Mounts); state != "" {
		asked--
	}
	return asked > 0
}

func hasOnlyTmp(tmpfs map[string]string) bool {
	_, tmp := tmpfs["/tmp"]
	return tmp && len(tmpfs) == 1
}

func bindsAddress(published nat.PortMap) bool {
	for _, bindings := range published {
		for _, binding := range bindings {
			if binding.HostIP != "" && binding.HostIP != "0.0.0.0" && binding.HostIP != "::" {
				return true
			}
		}
	}
	return false
}
