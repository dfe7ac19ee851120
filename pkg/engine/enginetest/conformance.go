package enginetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Engine is all that an engine can be asked.
type Engine interface {
	engine.Engine
	engine.Console
}

// Fixture is an engine to be tested. Whatever carries its installation's label
// goes away when the test ends; that is for the fixture's maker to see to.
type Fixture struct {
	Engine Engine
	// Away is an engine of the same make that does not answer.
	Away Engine
	// Installation is this fixture's own.
	Installation string
	// Image is the test game's, built from testdata/game: entrypoint GamePath,
	// user GameUser.
	Image string
	// Checked is the same game in an image that has its Check for a HEALTHCHECK.
	Checked string
	// Published is an image of 64 KiB or more that is not on the engine, and can
	// be pulled.
	Published string
	// Listens tells if the game of a running container listens by now.
	Listens func(engine.Container) bool
}

// Conformance is what an engine must be. Each part gets an engine of its own
// from newFixture, or its own installation on a shared one.
func Conformance(t *testing.T, newFixture func(t *testing.T) Fixture) {
	parts := []struct {
		name string
		test func(*testing.T, Fixture)
	}{
		{"identity is stable", testInfo},
		{"create shows what was asked for", testCreate},
		{"what it was made from is shown", testMade},
		{"a name in use is a conflict", testNameConflict},
		{"what cannot be made is refused", testRefusals},
		{"images are looked up", testImages},
		{"an image is pulled", testPull},
		{"another installation is invisible", testIsolation},
		{"start runs, again and again", testStart},
		{"stop sends its signal", testStop},
		{"stop kills after the grace period", testStopKills},
		{"stop outlives its caller", testStopOutlivesCaller},
		{"exit codes are told", testExitCodes},
		{"out of memory is told", testOutOfMemory},
		{"remove takes any state", testRemove},
		{"what is gone stays gone", testMissing},
		{"a start that fails leaves its reason", testStartFails},
		{"a start that fails keeps the last end", testRestartFails},
		{"a lost state directory is not made up", testStateLost},
		{"the last lines are told", testLogs},
		{"a program runs beside the game", testExec},
		{"output is read in its streams", testOutput},
		{"output is followed to the end of a run", testFollow},
		{"output ends with its reader", testFollowEnds},
		{"a program has streams", testRun},
		{"a program has input", testRunInput},
		{"a program has a terminal", testRunTerminal},
		{"a program is let go of", testRunLeft},
		{"use is measured", testUsage},
		{"host ports are picked and fixed", testHostPorts},
		{"limits change in place", testUpdateResources},
		{"the network is made once", testNetwork},
		{"an alias leads to its game", testAlias},
		{"the image's own check is told", testHealth},
		{"events tell a life", testEvents},
		{"events are replayed", testEventsSince},
		{"events end with their caller", testEventsEnd},
		{"a deadline is a timeout", testDeadline},
		{"an engine away is unreachable", testAway},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.test(t, newFixture(t)) })
	}
}

const (
	// patience bounds each wait of the suite; a machine under load needs it.
	patience = 30 * time.Second
	tick     = 5 * time.Millisecond
	grace    = time.Second
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func (f Fixture) network() string { return "galaxy." + f.Installation }

// spec is a container of the game of that name, behaving as args say.
func (f Fixture) spec(name string, args ...string) engine.ContainerSpec {
	return engine.ContainerSpec{
		Name: name + ".arena." + f.Installation,
		Labels: map[string]string{
			v1alpha1.LabelInstallation: f.Installation,
			v1alpha1.LabelNamespace:    "arena",
			v1alpha1.LabelGame:         name,
			v1alpha1.LabelUID:          "uid-of-" + name,
			v1alpha1.LabelOperation:    "operation-of-" + name,
			v1alpha1.LabelSpecHash:     "0123456789abcdef",
			v1alpha1.LabelGeneration:   "7",
		},
		Image: f.Image, Args: args, ReadOnlyRoot: true,
		Resources: engine.Resources{NanoCPUs: 500_000_000, MemoryBytes: 64 << 20, Pids: 64},
		Network:   f.network(), Alias: name + ".arena",
	}
}

func (f Fixture) create(t *testing.T, spec engine.ContainerSpec) (id string) {
	t.Helper()
	require.NoError(t, f.Engine.EnsureNetwork(within(t, patience), spec.Network, f.Installation))
	id, err := f.Engine.Create(within(t, patience), spec)
	require.NoError(t, err)
	require.NotEmpty(t, id)
	return id
}

func (f Fixture) start(t *testing.T, id string) {
	t.Helper()
	require.NoError(t, f.Engine.Start(within(t, patience), id))
}

func (f Fixture) run(t *testing.T, spec engine.ContainerSpec) (id string) {
	t.Helper()
	id = f.create(t, spec)
	f.start(t, id)
	return id
}

// serve runs a game that listens, which it does once it obeys signals.
func (f Fixture) serve(t *testing.T, spec engine.ContainerSpec) (id string) {
	t.Helper()
	id = f.run(t, spec)
	require.Eventually(t, func() bool {
		c, err := f.Engine.Inspect(within(t, patience), id)
		return err == nil && f.Listens(c)
	}, patience, tick, "the game does not listen")
	return id
}

func (f Fixture) stop(t *testing.T, id, signal string) {
	t.Helper()
	require.NoError(t, f.Engine.Stop(within(t, patience), id, signal, grace))
}

func (f Fixture) remove(t *testing.T, id string) {
	t.Helper()
	require.NoError(t, f.Engine.Remove(within(t, patience), id))
}

func (f Fixture) inspect(t *testing.T, idOrName string) engine.Container {
	t.Helper()
	c, err := f.Engine.Inspect(within(t, patience), idOrName)
	require.NoError(t, err)
	return c
}

func (f Fixture) list(t *testing.T) []engine.Container {
	t.Helper()
	containers, err := f.Engine.List(within(t, patience), f.Installation)
	require.NoError(t, err)
	return containers
}

// ended waits for the end of a container and returns how it ended.
func (f Fixture) ended(t *testing.T, id string) engine.Exit {
	t.Helper()
	var exit *engine.Exit
	require.Eventually(t, func() bool {
		c, err := f.Engine.Inspect(within(t, patience), id)
		exit = c.Exit
		return err == nil && c.State == engine.StateExited && c.Exit != nil
	}, patience, tick, "the container goes on")
	return *exit
}

func requireKind(t *testing.T, kind engine.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	var failure *engine.Error
	require.ErrorAs(t, err, &failure, "a failure that nobody classified")
	require.Equal(t, kind, failure.Kind, "%v", err)
	require.NotEmpty(t, failure.Op)
}
