package enginetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// testHealth follows the verdicts of an image's own check. That no event tells
// of its single checks, each of them a program run inside the container, shows
// in the order of those that do come.
func testHealth(t *testing.T, f Fixture) {
	require.Nil(t, f.inspect(t, f.serve(t, f.spec("go"))).Health, "its image has no check")

	heard := f.follow(t, time.Time{})
	spec := f.spec("chess")
	spec.Image = f.Checked
	id := f.create(t, spec)
	require.Nil(t, f.inspect(t, id).Health, "it does not run")
	f.start(t, id)
	require.Equal(t, []string{"create", "start", "health_status: healthy"}, heard.actions(t, 3))
	healthy := f.inspect(t, id)
	require.Equal(t, &engine.Health{State: engine.HealthHealthy}, healthy.Health)
	require.Empty(t, healthy.Beyond, "the check is the image's")

	f.exec(t, id, Sicken, "the turn\n is  lost\x1b")
	require.Equal(t, "health_status: unhealthy", heard.next(t).Action)
	sick := &engine.Health{State: engine.HealthUnhealthy, Output: "the turn is lost"}
	require.Equal(t, sick, f.inspect(t, id).Health)
	require.Equal(t, map[string]*engine.Health{"go": nil, "chess": {State: sick.State}}, f.listedHealth(t))

	f.exec(t, id, Cure)
	require.Equal(t, "health_status: healthy", heard.next(t).Action)
	require.Equal(t, healthy.Health, f.inspect(t, id).Health)
	require.Equal(t, map[string]*engine.Health{"go": nil, "chess": nil}, f.listedHealth(t), "a list tells of the unhealthy")

	f.exec(t, id, Sicken, "again")
	require.Equal(t, "health_status: unhealthy", heard.next(t).Action)
	f.stop(t, id, "SIGTERM")
	require.Equal(t, []string{"kill", "die"}, heard.actions(t, 2))
	require.Nil(t, f.inspect(t, id).Health, "it does not run")
	require.Equal(t, map[string]*engine.Health{"go": nil, "chess": nil}, f.listedHealth(t))

	f.start(t, id)
	require.Equal(t, []string{"start", "health_status: healthy"}, heard.actions(t, 2), "each run begins anew")
}

// listedHealth is what a list tells of the health of each game.
func (f Fixture) listedHealth(t *testing.T) map[string]*engine.Health {
	t.Helper()
	listed := map[string]*engine.Health{}
	for _, c := range f.list(t) {
		listed[c.Game.Name] = c.Health
	}
	return listed
}

// exec runs the test game beside itself.
func (f Fixture) exec(t *testing.T, id string, args ...string) {
	t.Helper()
	result, err := f.Engine.Exec(within(t, patience), id, append([]string{GamePath}, args...))
	require.NoError(t, err)
	require.Zero(t, result.Code, result.Output)
}
