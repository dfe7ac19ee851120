package mirror

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

var chess = engine.GameID{Namespace: "default", Name: "chess"}

// start runs a mirror for as long as the test.
func start(t *testing.T, reader engine.Reader, change func(*Options)) *Mirror {
	t.Helper()
	options := Options{Reader: reader, Installation: "i", Log: logr.Discard(), InspectTimeout: patience}
	if change != nil {
		change(&options)
	}
	m := New(options)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return m
}

// startSeen runs a mirror and waits for its first sight.
func startSeen(t *testing.T, reader engine.Reader, change func(*Options)) *Mirror {
	t.Helper()
	m := start(t, reader, change)
	eventually(t, "reachable", func() bool { return m.Fleet().Reachable })
	require.True(t, m.View(chess).Seen)
	return m
}

// unrun is a mirror that nobody runs: it shows only what a test refreshes.
func unrun(f *fakeReader) *Mirror {
	return New(Options{Reader: f, Installation: "i", Log: logr.Discard()})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}

// awaitOne waits for the next value.
func awaitOne[T any](t *testing.T, what string, values <-chan T) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// find returns a container of chess, or nil.
func (m *Mirror) find(id string) *engine.Container {
	for _, c := range m.View(chess).Containers {
		if c.ID == id {
			return &c
		}
	}
	return nil
}

// shows says that a container has a state; "" is gone.
func (m *Mirror) shows(id string, state engine.State) func() bool {
	return func() bool {
		c := m.find(id)
		return c == nil && state == "" || c != nil && c.State == state
	}
}

// followed says that the last event was heard, and that an inspect followed
// every event.
func (m *Mirror) followed(last time.Time) func() bool {
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.lastEvent.Equal(last) && len(m.announced) == 0
	}
}

func count(c prometheus.Counter) int { return int(testutil.ToFloat64(c)) }

func TestNothingIsShownBeforeTheFirstSight(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	release := f.hang("c1")
	m := start(t, f, nil)
	eventually(t, "the list is in", m.shows("c1", engine.StateRunning))
	require.False(t, m.View(chess).Seen, "an inspect is still under way")
	require.False(t, m.Fleet().Reachable)
	release()
	eventually(t, "reachable", func() bool { return m.Fleet().Reachable })
	require.True(t, m.View(chess).Seen)
	require.True(t, m.find("c1").Inspected)
	require.Zero(t, count(m.metrics.eventsMissed), "the first list announces itself")
}

func TestEventsAreHints(t *testing.T) {
	f := newFake()
	changed := make(chan engine.GameID, 100)
	m := startSeen(t, f, func(o *Options) { o.OnChange = func(g engine.GameID) { changed <- g } })
	f.set("c1", engine.StateRunning)
	f.tell("c1")
	require.Equal(t, chess, awaitOne(t, "a start", changed))
	require.True(t, m.shows("c1", engine.StateRunning)())
	f.set("c1", engine.StateExited)
	f.tell("c1")
	require.Equal(t, chess, awaitOne(t, "an end", changed))
	f.remove("c1")
	last := f.tell("c1")
	require.Equal(t, chess, awaitOne(t, "a removal", changed))
	require.Empty(t, m.View(chess).Containers)
	require.Empty(t, m.Games())
	require.Zero(t, count(m.metrics.eventsMissed))
	require.True(t, m.followed(last)())
}

func TestListsAreTruth(t *testing.T) {
	f := newFake()
	changed := make(chan engine.GameID, 100)
	goes := engine.GameID{Namespace: "default", Name: "goes"}
	f.set("stays", engine.StateRunning)
	f.set("exits", engine.StateRunning)
	f.set("renamed", engine.StateRunning, func(c *engine.Container) { c.Name = "old" })
	f.set("goes", engine.StateRunning, func(c *engine.Container) { c.Game = goes })
	m := start(t, f, func(o *Options) {
		o.Resync = 20 * time.Millisecond
		o.OnChange = func(g engine.GameID) { changed <- g }
	})
	eventually(t, "seen", func() bool { return m.View(chess).Seen })
	for len(changed) > 0 {
		<-changed
	}
	f.remove("goes") // and no event tells of any of it
	require.Equal(t, goes, awaitOne(t, "the game whose container vanished", changed))
	require.Empty(t, m.View(goes).Containers)
	f.set("exits", engine.StateExited)
	f.set("comes", engine.StateRunning)
	f.set("renamed", engine.StateRunning, func(c *engine.Container) { c.Name = "new" })
	for id, state := range map[string]engine.State{"exits": engine.StateExited, "comes": engine.StateRunning, "stays": engine.StateRunning} {
		eventually(t, id, func() bool { c := m.find(id); return c != nil && c.State == state && c.Inspected })
	}
	eventually(t, "renamed", func() bool { return m.find("renamed").Name == "new" })
	require.Equal(t, 4, count(m.metrics.eventsMissed))
}

func TestWhatAListDoesNotTellIsNotShown(t *testing.T) {
	f := newFake()
	ended := func(c *engine.Container) { c.Exit = &engine.Exit{Code: 1}; c.CreatedAt = time.Unix(100, 500) }
	f.set("c1", engine.StateExited, ended)
	m := startSeen(t, f, func(o *Options) { o.Resync = 20 * time.Millisecond })
	require.NotNil(t, m.find("c1").Exit)
	defer f.hang("c1")()
	f.set("c1", engine.StateRunning, ended)
	eventually(t, "running", m.shows("c1", engine.StateRunning))
	require.Equal(t, engine.Container{
		ID: "c1", Game: chess, Installation: "i", State: engine.StateRunning, CreatedAt: time.Unix(100, 500),
	}, *m.find("c1"), "how the last run ended says nothing of this one")
}

func TestEngineAwayAndBack(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	fleets := make(chan engine.Fleet, 10)
	m := start(t, f, func(o *Options) { o.OnFleet = func(f engine.Fleet) { fleets <- f } })
	require.True(t, awaitOne(t, "the engine", fleets).Reachable)
	f.setDown(true)
	before := time.Now()
	away := awaitOne(t, "the engine to go", fleets)
	require.WithinDuration(t, before, away.Gone, time.Second, "when it last gave a sign of life")
	require.Zero(t, away.Back)
	require.False(t, away.Reachable)
	require.Contains(t, away.Reason, "connection refused")
	require.Equal(t, "host", away.Info.Name, "who it was is known still")
	require.True(t, m.shows("c1", engine.StateRunning)(), "what was seen is unknown now, not gone")
	f.set("c1", engine.StateExited)
	f.setDown(false)
	back := awaitOne(t, "the engine to come back", fleets)
	require.True(t, back.Reachable)
	require.True(t, back.Since.After(away.Since))
	require.Equal(t, away.Gone, back.Gone)
	require.True(t, back.Back.After(away.Since))
	eventually(t, "seen anew", m.shows("c1", engine.StateExited))
}

func TestEngineAwayAtFirst(t *testing.T) {
	f := newFake()
	f.down = true
	fleets := make(chan engine.Fleet, 10)
	m := start(t, f, func(o *Options) { o.OnFleet = func(f engine.Fleet) { fleets <- f } })
	require.False(t, awaitOne(t, "a word", fleets).Reachable)
	require.False(t, m.View(chess).Seen)
	f.setDown(false)
	first := awaitOne(t, "the engine", fleets)
	require.True(t, first.Reachable)
	require.True(t, first.Gone.IsZero() && first.Back.IsZero(), "what was not there before was not away")
	require.True(t, m.View(chess).Seen)
	require.Empty(t, fleets, "each turn is told once")
}

func TestAnEngineThatDoesNotListIsAway(t *testing.T) {
	f := newFake()
	f.setListFails(true)
	fleets := make(chan engine.Fleet, 10)
	m := start(t, f, func(o *Options) { o.OnFleet = func(f engine.Fleet) { fleets <- f } })
	require.Contains(t, awaitOne(t, "a word", fleets).Reason, "no list today")
	require.False(t, m.View(chess).Seen)
	f.setListFails(false)
	require.True(t, awaitOne(t, "a list", fleets).Reachable)
}

func TestAStreamThatBreaksIsResumed(t *testing.T) {
	f := newFake()
	run := func(at time.Time) func(*engine.Container) { return func(c *engine.Container) { c.StartedAt = at } }
	f.set("c1", engine.StateRunning, run(time.Unix(100, 0)))
	fleets := make(chan engine.Fleet, 10)
	m := startSeen(t, f, func(o *Options) { o.OnFleet = func(f engine.Fleet) { fleets <- f } })
	require.True(t, awaitOne(t, "the engine", fleets).Reachable)
	require.Zero(t, f.lastSince(), "the first stream begins now")
	last := f.tell("c1")
	eventually(t, "an inspect follows the event", m.followed(last))
	f.set("c1", engine.StateRunning, run(time.Unix(200, 0))) // it ended and began again while nobody listened
	f.cutStream()
	eventually(t, "the run that no list tells from the one before", func() bool { return m.find("c1").StartedAt.Equal(time.Unix(200, 0)) })
	require.Equal(t, last.Add(-overlap), f.lastSince())
	require.Equal(t, 1, count(m.metrics.reconnects))
	require.Zero(t, count(m.metrics.eventsMissed))
	require.Empty(t, fleets, "the engine was there all the time")
}

func TestAListThatAStreamTakesDownIsNoOutage(t *testing.T) {
	f := newFake()
	fleets := make(chan engine.Fleet, 10)
	m := startSeen(t, f, func(o *Options) {
		o.Resync = 20 * time.Millisecond
		o.OnFleet = func(f engine.Fleet) { fleets <- f }
	})
	require.True(t, awaitOne(t, "the engine", fleets).Reachable)
	f.hang(theList)
	awaitOne(t, "a list to hang", f.held)
	f.mend(theList)
	f.set("c1", engine.StateRunning)
	f.cutStream()
	eventually(t, "the next list", m.shows("c1", engine.StateRunning))
	require.Empty(t, fleets, "the engine was there all the time")
}
