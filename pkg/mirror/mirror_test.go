package mirror

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

var chess = engine.GameID{Namespace: "default", Name: "chess"}

// fakeReader is an engine of which a test controls every answer.
type fakeReader struct {
	mu         sync.Mutex
	down       bool
	containers map[string]engine.Container
	// hold makes inspects of a container wait until it is closed, or their caller gives up.
	hold   map[string]chan struct{}
	events chan engine.Event
	cut    chan struct{}
}

func newFake() *fakeReader {
	return &fakeReader{
		containers: map[string]engine.Container{}, hold: map[string]chan struct{}{},
		events: make(chan engine.Event), cut: make(chan struct{}),
	}
}

var errAway = &engine.Error{Op: "ask", Kind: engine.Unreachable, Err: errors.New("connection refused")}

func (f *fakeReader) Info(context.Context) (engine.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return engine.Info{}, errAway
	}
	return engine.Info{ID: "e", Name: "host"}, nil
}

func (f *fakeReader) List(context.Context, string) ([]engine.Container, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []engine.Container
	for _, c := range f.containers {
		c.Inspected, c.Exit, c.StartedAt = false, nil, time.Time{}
		all = append(all, c)
	}
	return all, nil
}

func (f *fakeReader) Inspect(ctx context.Context, id string) (engine.Container, error) {
	f.mu.Lock()
	c, there := f.containers[id]
	held := f.hold[id]
	f.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return engine.Container{}, &engine.Error{Op: "inspect", Kind: engine.Timeout, Err: ctx.Err()}
		}
	}
	if !there {
		return engine.Container{}, &engine.Error{Op: "inspect", Kind: engine.NotFound, Err: errors.New("no such container")}
	}
	c.Inspected = true
	return c, nil
}

func (f *fakeReader) InspectImage(context.Context, string) (engine.Image, error) {
	return engine.Image{}, errAway
}

func (f *fakeReader) Events(ctx context.Context, _ string, _ time.Time, subscribed func(), handle func(engine.Event)) error {
	f.mu.Lock()
	cut := f.cut
	f.mu.Unlock()
	subscribed()
	for {
		select {
		case e := <-f.events:
			handle(e)
		case <-cut:
			return errAway
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// set changes a container without telling.
func (f *fakeReader) set(id string, state engine.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers[id] = engine.Container{ID: id, Game: chess, Installation: "i", State: state}
}

func (f *fakeReader) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, id)
}

func (f *fakeReader) tell(id string) {
	f.events <- engine.Event{ContainerID: id, Game: chess, Action: "x", At: time.Now()}
}

func (f *fakeReader) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	if down {
		close(f.cut)
		f.cut = make(chan struct{})
	}
}

// start runs a mirror and waits for its first sight.
func start(t *testing.T, f *fakeReader, change func(*Options)) *Mirror {
	options := Options{Reader: f, Installation: "i", Log: logr.Discard(), InspectTimeout: patience}
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

// unrun is a mirror that nobody runs: it shows only what a test shows it.
func unrun(t *testing.T, f *fakeReader) *Mirror {
	m := New(Options{Reader: f, Installation: "i"})
	t.Cleanup(m.dirty.ShutDown)
	return m
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}

func (m *Mirror) shows(id string, state engine.State) func() bool {
	return func() bool {
		for _, c := range m.View(chess).Containers {
			if c.ID == id {
				return c.State == state
			}
		}
		return state == ""
	}
}

func TestNothingIsShownBeforeTheFirstSight(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	release := make(chan struct{})
	f.hold["c1"] = release
	m := start(t, f, nil)
	eventually(t, "the list is in", m.shows("c1", engine.StateRunning))
	require.False(t, m.View(chess).Seen, "an inspect is still under way")
	require.False(t, m.Fleet().Reachable)
	close(release)
	eventually(t, "seen", func() bool { return m.View(chess).Seen })
	eventually(t, "reachable", func() bool { return m.Fleet().Reachable })
	require.True(t, m.View(chess).Containers[0].Inspected)
}

func TestEventsAreHints(t *testing.T) {
	f := newFake()
	changed := make(chan engine.GameID, 100)
	m := start(t, f, func(o *Options) { o.OnChange = func(g engine.GameID) { changed <- g } })
	eventually(t, "seen", func() bool { return m.View(chess).Seen })
	f.set("c1", engine.StateRunning)
	f.tell("c1")
	require.Equal(t, chess, <-changed)
	require.True(t, m.shows("c1", engine.StateRunning)())
	f.set("c1", engine.StateExited)
	f.tell("c1")
	require.Equal(t, chess, <-changed)
	f.remove("c1")
	f.tell("c1")
	require.Equal(t, chess, <-changed)
	require.Empty(t, m.View(chess).Containers)
	require.Zero(t, testutil.ToFloat64(m.metrics.eventsMissed))
}

func TestListsAreTruth(t *testing.T) {
	f := newFake()
	f.set("stays", engine.StateRunning)
	f.set("exits", engine.StateRunning)
	f.set("goes", engine.StateRunning)
	m := start(t, f, func(o *Options) { o.Resync = 20 * time.Millisecond })
	eventually(t, "seen", func() bool { return m.View(chess).Seen })
	f.set("exits", engine.StateExited) // and no event tells of any of it
	f.remove("goes")
	f.set("comes", engine.StateRunning)
	eventually(t, "exited", m.shows("exits", engine.StateExited))
	eventually(t, "gone", m.shows("goes", ""))
	eventually(t, "come", m.shows("comes", engine.StateRunning))
	eventually(t, "all counted", func() bool { return testutil.ToFloat64(m.metrics.eventsMissed) == 3 })
}

func TestEngineAwayAndBack(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	fleets := make(chan engine.Fleet, 10)
	m := start(t, f, func(o *Options) { o.OnFleet = func(f engine.Fleet) { fleets <- f } })
	require.True(t, (<-fleets).Reachable)
	f.setDown(true)
	away := <-fleets
	require.False(t, away.Reachable)
	require.Contains(t, away.Reason, "connection refused")
	require.True(t, m.shows("c1", engine.StateRunning)(), "what was seen is unknown now, not gone")
	f.set("c1", engine.StateExited)
	f.setDown(false)
	require.True(t, (<-fleets).Reachable)
	eventually(t, "seen anew", m.shows("c1", engine.StateExited))
}

func TestOneThatHangsDelaysNobody(t *testing.T) {
	f := newFake()
	m := start(t, f, func(o *Options) { o.InspectTimeout, o.Inspectors = 50*time.Millisecond, 2 })
	eventually(t, "seen", func() bool { return m.View(chess).Seen })
	f.mu.Lock()
	f.hold["hangs"] = make(chan struct{})
	f.mu.Unlock()
	f.set("hangs", engine.StateRunning)
	f.tell("hangs")
	for _, id := range []string{"a", "b", "c"} {
		f.set(id, engine.StateRunning)
		f.tell(id)
		eventually(t, id, m.shows(id, engine.StateRunning))
	}
	eventually(t, "counted", func() bool { return testutil.ToFloat64(m.metrics.inspectTimeouts) > 0 })
}

func TestAnEarlierAnswerDoesNotOverwriteALaterOne(t *testing.T) {
	m := unrun(t, newFake())
	early, late := m.ask(), m.ask()
	m.show(engine.Container{ID: "c1", Game: chess, Installation: "i", State: engine.StateExited, Inspected: true}, late)
	m.show(engine.Container{ID: "c1", Game: chess, Installation: "i", State: engine.StateRunning, Inspected: true}, early)
	require.True(t, m.shows("c1", engine.StateExited)())
	m.drop("c1", early)
	require.True(t, m.shows("c1", engine.StateExited)())
}

func TestRefreshShowsOurOwnChange(t *testing.T) {
	f := newFake()
	m := unrun(t, f) // no event will tell
	f.set("c1", engine.StateCreated)
	require.NoError(t, m.Refresh(context.Background(), "c1"))
	require.True(t, m.shows("c1", engine.StateCreated)())
	f.remove("c1")
	require.NoError(t, m.Refresh(context.Background(), "c1"))
	require.Empty(t, m.Games())
}

func TestOthersContainersAreNotShown(t *testing.T) {
	m := unrun(t, newFake())
	m.show(engine.Container{ID: "c1", Game: chess, Installation: "somebody else"}, m.ask())
	require.Empty(t, m.View(chess).Containers)
}

func TestTheOldestComesFirst(t *testing.T) {
	m := unrun(t, newFake())
	for id, age := range map[string]time.Duration{"young": time.Minute, "old": time.Hour} {
		m.show(engine.Container{ID: id, Game: chess, Installation: "i", CreatedAt: time.Now().Add(-age)}, m.ask())
	}
	require.Equal(t, "old", m.View(chess).Containers[0].ID)
}
