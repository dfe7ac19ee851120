package docker

import (
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestBeyondWhatARecordCanAskFor(t *testing.T) {
	ours := func(change func(*container.HostConfig)) container.InspectResponse {
		picked := int32(0)
		config, host, _, err := toConfig(engine.ContainerSpec{
			Name: "chess", Image: "chess", Network: "galaxy", StateSource: "/srv/chess", StateTarget: "/state",
			Ports: []engine.PortSpec{{PortKey: engine.PortKey{Port: 80, Protocol: "tcp"}, HostPort: &picked}},
		})
		require.NoError(t, err)
		if change != nil {
			change(host)
		}
		return container.InspectResponse{
			ContainerJSONBase: &container.ContainerJSONBase{HostConfig: host}, Config: config,
			Mounts: []container.MountPoint{{Type: "bind", Source: "/srv/chess", Destination: "/state"}, {Type: "volume", Destination: "/cache"}},
		}
	}
	require.Nil(t, beyond(ours(nil)))
	for want, change := range map[string]func(*container.HostConfig){
		"privileged":                            func(h *container.HostConfig) { h.Privileged = true },
		"capabilities that are not dropped":     func(h *container.HostConfig) { h.CapDrop = []string{"CHOWN"} },
		"new privileges allowed":                func(h *container.HostConfig) { h.SecurityOpt = nil },
		"a namespace of the host":               func(h *container.HostConfig) { h.PidMode = "host" },
		"devices":                               func(h *container.HostConfig) { h.Devices = []container.DeviceMapping{{}} },
		"other mounts than the state directory": func(h *container.HostConfig) { h.Binds = []string{"/etc:/host"} },
		"another tmpfs than /tmp":               func(h *container.HostConfig) { h.Tmpfs = nil },
		"a port on one address of the host":     func(h *container.HostConfig) { h.PortBindings = nat.PortMap{"80/tcp": {{HostIP: "127.0.0.1"}}} },
		"all its ports published":               func(h *container.HostConfig) { h.PublishAllPorts = true },
		"removal when it ends":                  func(h *container.HostConfig) { h.AutoRemove = true },
		"restart policy always":                 func(h *container.HostConfig) { h.RestartPolicy.Name = "always" },
	} {
		require.Equal(t, []string{want}, beyond(ours(change)))
	}
}
