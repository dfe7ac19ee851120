package enginetest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// testMade creates one with everything: what was asked for is what is shown, in
// any state, and what changes later is shown too.
func testMade(t *testing.T, f Fixture) {
	picked, fixed := int32(0), int32(31999)
	spec := f.spec("chess", Serve)
	spec.Entrypoint = []string{GamePath}
	spec.Env = []string{"B=2", "A=1", "EMPTY=", "EQUALS=a=b"}
	spec.WorkingDir, spec.User, spec.StopSignal = "/tmp", "2000:3000", "SIGINT"
	spec.AddCapabilities = []string{"NET_BIND_SERVICE", "CHOWN"}
	spec.Ports = []engine.PortSpec{
		{PortKey: engine.PortKey{Port: 9000, Protocol: "udp"}, HostPort: &fixed},
		{PortKey: engine.PortKey{Port: GamePort, Protocol: "tcp"}, HostPort: &picked},
		{PortKey: engine.PortKey{Port: 9000, Protocol: "tcp"}},
	}
	spec.StateSource, spec.StateTarget = t.TempDir(), "/var/lib/game/"
	require.NoError(t, os.Chmod(spec.StateSource, 0o777)) // the game's user is another

	id := f.create(t, spec)
	shown := f.inspect(t, id).Made
	requireMade(t, spec, shown)
	f.start(t, id)
	require.Equal(t, shown, f.inspect(t, id).Made, "while it runs")
	f.stop(t, id, "SIGTERM")
	require.Equal(t, shown, f.inspect(t, id).Made, "and after that")

	spec.Name = "was-" + spec.Name
	require.NoError(t, f.Engine.Rename(within(t, patience), id, spec.Name))
	spec.Resources = engine.Resources{NanoCPUs: 250_000_000, MemoryBytes: 96 << 20, Pids: 32}
	require.NoError(t, f.Engine.UpdateResources(within(t, patience), id, spec.Resources))
	requireMade(t, spec, f.inspect(t, id).Made)

	silent := f.inspect(t, f.create(t, f.spec("go"))).Made
	require.Equal(t, []string{GamePath}, silent.Entrypoint, "the image's own")
	require.Equal(t, GameUser, silent.User, "the image's own")
	require.Empty(t, silent.Args)
	require.Empty(t, silent.Ports)
	require.Empty(t, silent.AddCapabilities)
	require.Empty(t, silent.StateSource)
	require.Empty(t, silent.StateTarget)
}

// requireMade compares what was asked for with what is shown. An engine may add
// to the environment; it may not reorder anything else.
func requireMade(t *testing.T, asked engine.ContainerSpec, shown *engine.ContainerSpec) {
	t.Helper()
	require.NotNil(t, shown)
	require.Subset(t, shown.Env, asked.Env)
	require.IsIncreasing(t, shown.Env)
	want := made(asked)
	want.Env = shown.Env
	require.Equal(t, want, shown)
}
