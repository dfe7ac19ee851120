package mirror

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// The words of each failing check are other ones. What was told first stays, for
// as long as the verdict and the run do.
func TestHealthChangesWithItsVerdictAlone(t *testing.T) {
	f := newFake()
	changes := 0
	m := New(Options{Reader: f, Installation: "i", Log: logr.Discard(), OnChange: func(engine.GameID) { changes++ }})
	first := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	steps := []struct {
		name   string
		run    time.Time
		health *engine.Health
		want   *engine.Health
		change bool
	}{
		{"starts", first, &engine.Health{State: engine.HealthStarting}, &engine.Health{State: engine.HealthStarting}, true},
		{"fails", first, sick("turn 1"), sick("turn 1"), true},
		{"fails again", first, sick("turn 2"), sick("turn 1"), false},
		{"recovers", first, &engine.Health{State: engine.HealthHealthy}, &engine.Health{State: engine.HealthHealthy}, true},
		{"goes on", first, &engine.Health{State: engine.HealthHealthy}, &engine.Health{State: engine.HealthHealthy}, false},
		{"fails anew", first, sick("turn 3"), sick("turn 3"), true},
		{"in the next run", first.Add(time.Hour), sick("turn 4"), sick("turn 4"), true},
		{"ends", first.Add(time.Hour), nil, nil, true},
	}
	for _, step := range steps {
		before := changes
		f.set("c1", engine.StateRunning, func(c *engine.Container) { c.StartedAt, c.Health = step.run, step.health })
		require.NoError(t, m.Refresh(t.Context(), "c1"))
		require.Equal(t, step.want, m.find("c1").Health, step.name)
		require.Equal(t, step.change, changes > before, step.name)
	}
}

func sick(output string) *engine.Health {
	return &engine.Health{State: engine.HealthUnhealthy, Output: output}
}

// A verdict has an event like whatever else happens to a container.
func TestVerdictsAreHeard(t *testing.T) {
	sim := enginetest.NewSim("game:1.0.0")
	sim.AddHealthcheck("game:1.0.0")
	m := startSeen(t, sim, nil)
	id := create(t, sim, chess)
	require.NoError(t, sim.Start(t.Context(), id))
	eventually(t, "healthy", m.showsHealth(id, engine.Health{State: engine.HealthHealthy}))
	sim.TurnHealth(id, *sick("no turn"))
	eventually(t, "unhealthy", m.showsHealth(id, *sick("no turn")))
	sim.TurnHealth(id, engine.Health{State: engine.HealthHealthy})
	eventually(t, "healthy again", m.showsHealth(id, engine.Health{State: engine.HealthHealthy}))
	sim.Kill(id, enginetest.Ending{Code: 1})
	eventually(t, "no verdict on what ended", func() bool { c := m.find(id); return c.Exit != nil && c.Health == nil })
}

func TestLostVerdictsAreFoundByAList(t *testing.T) {
	sim := enginetest.NewSim("game:1.0.0")
	sim.AddHealthcheck("game:1.0.0")
	m := startSeen(t, sim, nil)
	id := create(t, sim, chess)
	require.NoError(t, sim.Start(t.Context(), id))
	eventually(t, "healthy", m.showsHealth(id, engine.Health{State: engine.HealthHealthy}))

	sim.LoseEvents(true)
	for _, verdict := range []engine.Health{*sick("no turn again"), {State: engine.HealthHealthy}, {State: engine.HealthStarting}, {State: engine.HealthHealthy}} {
		sim.TurnHealth(id, verdict)
		if verdict.State == engine.HealthStarting { // no list tells it, and no verdict turns to it
			require.NoError(t, m.Refresh(t.Context(), id))
		}
		m.Relist()
		eventually(t, "told by a list", m.showsHealth(id, verdict))
	}
	require.Positive(t, count(m.metrics.eventsMissed))
}

func (m *Mirror) showsHealth(id string, want engine.Health) func() bool {
	return func() bool {
		c := m.find(id)
		return c != nil && c.Health != nil && *c.Health == want
	}
}
