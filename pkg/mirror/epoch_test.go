package mirror

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// What a list tells after an absence is seen together with the absence.
func TestTheAbsenceIsKnownBeforeWhatTheListTells(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	told := make(chan engine.Fleet, 100)
	var m *Mirror
	ready := make(chan struct{})
	m = start(t, f, func(o *Options) {
		o.OnChange = func(engine.GameID) { <-ready; told <- m.Fleet() }
	})
	close(ready)
	eventually(t, "reachable", func() bool { return m.Fleet().Reachable })
	f.setDown(true)
	eventually(t, "away", func() bool { return !m.Fleet().Reachable })
	for len(told) > 0 {
		<-told
	}
	f.set("c1", engine.StateExited)
	f.setDown(false)
	fleet := awaitOne(t, "the end", told)
	require.False(t, fleet.Gone.IsZero())
	require.True(t, fleet.Back.After(fleet.Gone), "%+v", fleet)
}

func TestAnotherEngineIsToldOfBeforeItsList(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	words := make(chan string, 100)
	m := startSeen(t, f, func(o *Options) {
		o.OnChange = func(engine.GameID) { words <- "game" }
		o.OnFleet = func(fleet engine.Fleet) { words <- fleet.Info.ID }
	})
	for len(words) > 0 {
		<-words
	}
	f.mu.Lock()
	f.id = "another"
	f.mu.Unlock()
	f.remove("c1")
	f.cutStream()
	require.Equal(t, "another", awaitOne(t, "the engine", words))
	require.Equal(t, "game", awaitOne(t, "the game", words))
	require.True(t, m.Fleet().Reachable)
	require.Zero(t, m.Fleet().Gone)
}

func TestAListOnDemand(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	m := startSeen(t, f, nil) // the next list is minutes away
	f.set("c1", engine.StateExited)
	m.Relist()
	eventually(t, "what nobody announced", m.shows("c1", engine.StateExited))
}

func TestSignalsAreEvidence(t *testing.T) {
	sim := enginetest.NewSim("game:1.0.0")
	m := startSeen(t, sim, nil)
	id := create(t, sim, chess)
	require.NoError(t, sim.Start(t.Context(), id))
	eventually(t, "it runs", m.shows(id, engine.StateRunning))
	require.Empty(t, m.find(id).Signal)
	sim.Kill(id, enginetest.Ending{Code: 143, Signal: "SIGTERM"})
	eventually(t, "it ended", func() bool { return m.find(id).Exit != nil })
	require.Equal(t, "SIGTERM", m.find(id).Signal)

	require.NoError(t, sim.Start(t.Context(), id))
	eventually(t, "it runs again", func() bool { c := m.find(id); return c.State == engine.StateRunning && c.Inspected })
	require.Empty(t, m.find(id).Signal, "that was another run")
	sim.Kill(id, enginetest.Ending{Code: 137})
	eventually(t, "it ended", func() bool { return m.find(id).Exit != nil })
	require.Empty(t, m.find(id).Signal, "nobody sent one")
}

func TestASignalOfAnEarlierRunIsNotTold(t *testing.T) {
	f := newFake()
	begun := time.Now()
	run := func(at time.Time) func(*engine.Container) { return func(c *engine.Container) { c.StartedAt = at } }
	f.set("c1", engine.StateRunning, run(begun))
	m := startSeen(t, f, nil)
	inspects := count(m.metrics.inspects)
	f.events <- engine.Event{ContainerID: "c1", Action: "kill", Signal: "SIGHUP", At: begun.Add(time.Second)}
	eventually(t, "the signal", func() bool { return m.find("c1").Signal == "SIGHUP" })
	require.Equal(t, inspects, count(m.metrics.inspects), "it changed nothing")
	require.Zero(t, m.dirty.Len())
	f.set("c1", engine.StateRunning, run(begun.Add(time.Minute))) // its start was lost on the way
	require.NoError(t, m.Refresh(t.Context(), "c1"))
	require.Empty(t, m.find("c1").Signal)
	f.events <- engine.Event{ContainerID: "nobody", Action: "kill", Signal: "SIGHUP", At: begun}
	f.tell("c1") // when this is taken, the one before was heard
	signals := func() int { m.mu.Lock(); defer m.mu.Unlock(); return len(m.signals) }
	require.Equal(t, 2, signals())
	m.Relist()
	eventually(t, "what is not there is forgotten", func() bool { return signals() == 1 })
}
