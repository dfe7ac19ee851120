//go:build integration

package docker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/engine/enginetest/registrytest"
)

func TestConformance(t *testing.T) {
	game, withCheck := buildGame(t), buildGame(t, checked)
	registry := registrytest.Start(t)
	var published string
	t.Run("publish", func(t *testing.T) { // and keep nothing of it here
		published = registry.Push(buildGame(t), "galaxy/game:1.0.0")
	})
	login := filepath.Join(t.TempDir(), "config.json")
	registry.Login(login, registrytest.Password)
	enginetest.Conformance(t, func(t *testing.T) enginetest.Fixture {
		f := newFixture(t, game)
		f.Checked, f.Published = withCheck, published
		f.Engine.(*Client).registryConfig = login
		return f
	})
}

// What no specification can undo, as the engine took it.
func TestSecurityDefaults(t *testing.T) {
	f := newFixture(t, buildGame(t))
	spec := chess(f)
	spec.ReadOnlyRoot, spec.AddCapabilities, spec.User = true, []string{"NET_BIND_SERVICE"}, "2000:2000"
	spec.Resources = engine.Resources{NanoCPUs: 500_000_000, MemoryBytes: 64 << 20, Pids: 64}
	found, err := f.Engine.(*Client).sdk.ContainerInspect(t.Context(), run(t, f, spec))
	require.NoError(t, err)

	host := found.HostConfig
	require.Equal(t, []string{"ALL"}, []string(host.CapDrop))
	require.Equal(t, []string{"CAP_NET_BIND_SERVICE"}, []string(host.CapAdd))
	require.Equal(t, []string{"no-new-privileges:true"}, host.SecurityOpt)
	require.False(t, host.Privileged)
	require.True(t, host.ReadonlyRootfs)
	require.Equal(t, map[string]string{"/tmp": tmpfsOptions}, host.Tmpfs)
	require.Equal(t, container.RestartPolicyDisabled, host.RestartPolicy.Name)
	require.Equal(t, host.Memory, host.MemorySwap, "swap is off")
	require.Equal(t, "local", host.LogConfig.Type)
	require.Equal(t, map[string]string{"max-size": "10m", "max-file": "2"}, host.LogConfig.Config)
	require.Equal(t, container.NetworkMode(spec.Network), host.NetworkMode)
	for _, namespace := range []string{string(host.PidMode), string(host.UTSMode), string(host.UsernsMode)} {
		require.Empty(t, namespace, "a namespace of the host")
	}
	require.True(t, host.IpcMode.IsPrivate())
	require.Empty(t, host.Binds)
	require.Empty(t, host.Mounts)
	require.Equal(t, "2000:2000", found.Config.User)
	require.Equal(t, "chess", found.Config.Hostname)
	require.Empty(t, beyond(found))
}

// The state directory is the host's, and outlives the container.
func TestStateDirectory(t *testing.T) {
	f := newFixture(t, buildGame(t))
	spec := chess(f, "write", "turn 42")
	spec.StateSource, spec.StateTarget, spec.ReadOnlyRoot = filepath.Join(t.TempDir(), "chess"), "/var/lib/game", true
	spec.Env = []string{"GAME_STATE_PATH=/var/lib/game"}
	require.NoError(t, os.Mkdir(spec.StateSource, 0o700))
	require.NoError(t, os.Chown(spec.StateSource, 1000, 1000))
	id := run(t, f, spec)
	require.Eventually(t, func() bool {
		c, err := f.Engine.Inspect(t.Context(), id)
		return err == nil && c.Exit != nil && c.Exit.Code == 0
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, f.Engine.Remove(t.Context(), id))
	text, err := os.ReadFile(filepath.Join(spec.StateSource, "turn"))
	require.NoError(t, err)
	require.Equal(t, "turn 42", string(text))
}

func TestPublishedPortLeadsToTheGame(t *testing.T) {
	f := newFixture(t, buildGame(t))
	key, picked := engine.PortKey{Port: enginetest.GamePort, Protocol: "tcp"}, int32(0)
	spec := chess(f)
	spec.Ports = []engine.PortSpec{{PortKey: key, HostPort: &picked}}
	c, err := f.Engine.Inspect(t.Context(), run(t, f, spec))
	require.NoError(t, err)
	for _, address := range []string{fmt.Sprintf("127.0.0.1:%d", c.HostPorts[key]), fmt.Sprintf("%s:%d", c.IP, key.Port)} {
		require.Eventually(t, func() bool { return answers(address) }, time.Minute, 10*time.Millisecond, address)
	}
}

// A port can be taken by a program that the engine knows nothing of.
func TestPortOfAnotherProgram(t *testing.T) {
	f := newFixture(t, buildGame(t))
	holder, err := net.Listen("tcp4", "0.0.0.0:0")
	require.NoError(t, err)
	defer holder.Close()
	taken := int32(holder.Addr().(*net.TCPAddr).Port)
	spec := chess(f)
	spec.Ports = []engine.PortSpec{{PortKey: engine.PortKey{Port: enginetest.GamePort, Protocol: "tcp"}, HostPort: &taken}}
	id := create(t, f, spec)
	err = f.Engine.Start(t.Context(), id)
	require.Equal(t, engine.PortConflict, engine.KindOf(err), "%v", err)
}

// Several managers may ask for the network at once, and an engine before API
// 1.44 makes one for each.
func TestDuplicateNetworksAreMended(t *testing.T) {
	f := newFixture(t, "")
	name := "galaxy." + f.Installation
	managers := errgroup.Group{}
	for range 6 {
		c := newClient(t)
		managers.Go(func() error { return c.EnsureNetwork(t.Context(), name, f.Installation) })
	}
	require.NoError(t, managers.Wait())
	require.NoError(t, f.Engine.EnsureNetwork(t.Context(), name, f.Installation))
	left, err := f.Engine.(*Client).sdk.NetworkList(t.Context(), network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, "bridge", left[0].Driver)
	require.Equal(t, f.Installation, left[0].Labels[v1alpha1.LabelInstallation])
}
