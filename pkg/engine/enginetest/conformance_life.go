package enginetest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

func testStart(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess"))
	first := f.inspect(t, id)
	require.Equal(t, engine.StateRunning, first.State)
	require.Nil(t, first.Exit)
	require.NotEmpty(t, first.IP)
	require.False(t, first.StartedAt.Before(first.CreatedAt))

	f.start(t, id)
	require.Equal(t, first, f.inspect(t, id), "to start what runs changes nothing")

	f.stop(t, id, "SIGTERM")
	f.start(t, id)
	second := f.inspect(t, id)
	require.Equal(t, engine.StateRunning, second.State)
	require.Nil(t, second.Exit, "the end of the run before")
	require.True(t, second.StartedAt.After(first.StartedAt))
}

func testStop(t *testing.T, f Fixture) {
	cases := map[string]struct {
		signal string
		code   int32
	}{
		"SIGTERM":         {"SIGTERM", 0},
		"SIGUSR1":         {"SIGUSR1", 110},
		"SIGINT":          {"SIGINT", 102},
		"none is SIGTERM": {"", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			spec := f.spec("chess")
			spec.StopSignal = c.signal
			id := f.serve(t, spec)
			defer f.remove(t, id)
			f.stop(t, id, c.signal)

			stopped := f.inspect(t, id)
			require.Equal(t, engine.StateExited, stopped.State)
			require.NotNil(t, stopped.Exit)
			require.Equal(t, c.code, stopped.Exit.Code)
			require.False(t, stopped.Exit.FinishedAt.Before(stopped.StartedAt))
			require.Empty(t, stopped.IP)
			f.stop(t, id, c.signal)
			require.Equal(t, stopped, f.inspect(t, id), "to stop what does not run changes nothing")
		})
	}
}

func testStopKills(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess", Stubborn))
	begin := time.Now()
	f.stop(t, id, "SIGTERM")
	require.GreaterOrEqual(t, time.Since(begin), grace)
	exit := f.ended(t, id)
	require.EqualValues(t, 137, exit.Code)
	require.False(t, exit.OOMKilled, "137 alone is not out of memory")
}

func testStopOutlivesCaller(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess", Stubborn))
	err := f.Engine.Stop(within(t, grace/10), id, "SIGTERM", grace)
	requireKind(t, engine.Timeout, err)
	require.Equal(t, engine.StateRunning, f.inspect(t, id).State)
	require.EqualValues(t, 137, f.ended(t, id).Code)
}

func testExitCodes(t *testing.T, f Fixture) {
	for _, code := range []int32{0, 1, 3, 255} {
		t.Run(strconv.Itoa(int(code)), func(t *testing.T) {
			id := f.run(t, f.spec("chess", Exit, strconv.Itoa(int(code))))
			defer f.remove(t, id)
			exit := f.ended(t, id)
			require.Equal(t, code, exit.Code)
			require.False(t, exit.OOMKilled)
			require.Empty(t, exit.Error)
			require.False(t, exit.FinishedAt.IsZero())
		})
	}
}

// The kernel tells an engine of it beside the end, and now and then too late: that
// one end is without the flag, and no engine promises more.
func testOutOfMemory(t *testing.T, f Fixture) {
	for range 5 {
		id := f.run(t, f.spec("chess", Hog))
		exit := f.ended(t, id)
		require.EqualValues(t, 137, exit.Code)
		if exit.OOMKilled {
			return
		}
		f.remove(t, id)
	}
	t.Fatal("the engine never tells that a container was out of memory")
}

func testRemove(t *testing.T, f Fixture) {
	states := map[string]func(t *testing.T) (id string){
		"created": func(t *testing.T) string { return f.create(t, f.spec("chess")) },
		"running": func(t *testing.T) string { return f.serve(t, f.spec("chess", Stubborn)) },
		"exited": func(t *testing.T) string {
			id := f.run(t, f.spec("chess", Exit, "0"))
			f.ended(t, id)
			return id
		},
	}
	for state, bring := range states {
		t.Run(state, func(t *testing.T) {
			id := bring(t)
			require.EqualValues(t, state, f.inspect(t, id).State)
			f.remove(t, id)
			_, err := f.Engine.Inspect(within(t, patience), id)
			requireKind(t, engine.NotFound, err)
			require.Empty(t, f.list(t))
			f.remove(t, id)
		})
	}
}

func testMissing(t *testing.T, f Fixture) {
	ctx := within(t, patience)
	id := f.create(t, f.spec("chess"))
	f.remove(t, id)

	_, err := f.Engine.Inspect(ctx, id)
	requireKind(t, engine.NotFound, err)
	requireKind(t, engine.NotFound, f.Engine.Start(ctx, id))
	requireKind(t, engine.NotFound, f.Engine.UpdateResources(ctx, id, engine.Resources{Pids: 9}))
	require.NoError(t, f.Engine.Stop(ctx, id, "SIGTERM", grace))
	require.NoError(t, f.Engine.Remove(ctx, id))
}

func testStartFails(t *testing.T, f Fixture) {
	spec := f.spec("chess")
	spec.Entrypoint = []string{"/no/such/program"}
	id := f.create(t, spec)
	requireKind(t, engine.ProgramFailed, f.Engine.Start(within(t, patience), id))

	c := f.inspect(t, id)
	require.Equal(t, engine.StateCreated, c.State)
	require.True(t, c.StartedAt.IsZero(), "it never ran")
	require.NotNil(t, c.Exit)
	require.EqualValues(t, 127, c.Exit.Code)
	require.Contains(t, c.Exit.Error, "/no/such/program")
	require.Equal(t, engine.ProgramFailed, c.Exit.StartKind)
	require.True(t, c.Exit.FinishedAt.IsZero())
}

// testStateLost: a directory that is gone is not made up.
func testStateLost(t *testing.T, f Fixture) {
	spec := f.spec("chess")
	spec.StateSource, spec.StateTarget = filepath.Join(t.TempDir(), "chess"), "/var/lib/game"
	_, err := f.Engine.Create(within(t, patience), spec)
	requireKind(t, engine.MountFailed, err)

	require.NoError(t, os.Mkdir(spec.StateSource, 0o755))
	id := f.create(t, spec)
	require.NoError(t, os.Remove(spec.StateSource))
	requireKind(t, engine.MountFailed, f.Engine.Start(within(t, patience), id))
	require.True(t, f.inspect(t, id).StartedAt.IsZero(), "it never ran")
	require.NoDirExists(t, spec.StateSource)

	require.NoError(t, os.Mkdir(spec.StateSource, 0o755))
	f.start(t, id)
}

func testRestartFails(t *testing.T, f Fixture) {
	spec := f.spec("chess", Exit, "3")
	spec.Ports = []engine.PortSpec{publish(freePort(t))}
	id := f.run(t, spec)
	f.ended(t, id)
	before := f.inspect(t, id)
	require.Empty(t, before.Exit.StartKind)
	holder := f.spec("go")
	holder.Ports = spec.Ports
	f.run(t, holder)

	requireKind(t, engine.PortConflict, f.Engine.Start(within(t, patience), id))
	after := f.inspect(t, id)
	require.NotEmpty(t, after.Exit.Error)
	require.Equal(t, engine.PortConflict, after.Exit.StartKind)
	after.Exit.Error, after.Exit.StartKind = "", ""
	require.Equal(t, before, after, "all but the error is the last run's")
}
