package enginetest

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/pkg/engine"
)

var gameKey = engine.PortKey{Port: GamePort, Protocol: "tcp"}

func publish(host int32) engine.PortSpec {
	return engine.PortSpec{PortKey: gameKey, HostPort: &host}
}

// freePort is a port of this host that nobody uses now.
func freePort(t *testing.T) int32 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer l.Close()
	return int32(l.Addr().(*net.TCPAddr).Port)
}

func testHostPorts(t *testing.T, f Fixture) {
	withPort := func(name string, port engine.PortSpec) engine.ContainerSpec {
		spec := f.spec(name)
		spec.Ports = []engine.PortSpec{port, {PortKey: engine.PortKey{Port: 9000, Protocol: "udp"}}}
		return spec
	}
	picked := f.inspect(t, f.run(t, withPort("picked", publish(0)))).HostPorts
	require.Len(t, picked, 1, "a port without a host port is not published")
	require.Positive(t, picked[gameKey])
	other := f.inspect(t, f.run(t, withPort("other", publish(0)))).HostPorts
	require.NotEqual(t, picked[gameKey], other[gameKey])

	port := freePort(t)
	fixed := f.serve(t, withPort("fixed", publish(port)))
	require.Equal(t, map[engine.PortKey]int32{gameKey: port}, f.inspect(t, fixed).HostPorts)

	second := f.create(t, withPort("second", publish(port)))
	requireKind(t, engine.PortConflict, f.Engine.Start(within(t, patience), second))
	refused := f.inspect(t, second)
	require.Equal(t, engine.StateCreated, refused.State)
	require.NotNil(t, refused.Exit)
	require.EqualValues(t, 128, refused.Exit.Code)
	require.NotEmpty(t, refused.Exit.Error)

	f.stop(t, fixed, "SIGTERM")
	require.Empty(t, f.inspect(t, fixed).HostPorts)
	f.start(t, second)
	require.Equal(t, port, f.inspect(t, second).HostPorts[gameKey], "the port was free again")
}

func testNetwork(t *testing.T, f Fixture) {
	var ids []string
	for _, name := range []string{"chess", "go", "shogi", "hex"} {
		id, err := f.Engine.Create(within(t, patience), f.spec(name))
		require.NoError(t, err, "a network is looked up by a start")
		ids = append(ids, id)
	}
	requireKind(t, engine.NotFound, f.Engine.Start(within(t, patience), ids[0]))

	callers, ctx := errgroup.Group{}, within(t, patience)
	require.NoError(t, f.Engine.JoinNetwork(ctx, f.network()), "what is not there is not joined")
	for _, id := range ids {
		callers.Go(func() error {
			if err := f.Engine.EnsureNetwork(ctx, f.network(), f.Installation); err != nil {
				return err
			}
			return f.Engine.Start(ctx, id) // a name that two networks have would be refused
		})
	}
	require.NoError(t, callers.Wait())
	require.NoError(t, f.Engine.EnsureNetwork(ctx, f.network(), f.Installation))
	require.NoError(t, f.Engine.JoinNetwork(ctx, f.network()))
	for _, id := range ids {
		require.Equal(t, engine.StateRunning, f.inspect(t, id).State)
	}
}

func testAlias(t *testing.T, f Fixture) {
	f.serve(t, f.spec("chess"))
	require.EqualValues(t, 0, f.ended(t, f.run(t, f.spec("guest", Dial, "chess.arena:8080"))).Code)
	require.EqualValues(t, 1, f.ended(t, f.run(t, f.spec("lost", Dial, "nobody.arena:8080"))).Code)
}
