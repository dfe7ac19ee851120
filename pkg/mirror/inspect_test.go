package mirror

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	testclock "k8s.io/utils/clock/testing"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestRefreshShowsOurOwnChange(t *testing.T) {
	f := newFake()
	m := unrun(f) // no event will tell
	f.set("c1", engine.StateCreated)
	require.NoError(t, m.Refresh(context.Background(), "c1"))
	require.True(t, m.shows("c1", engine.StateCreated)())
	f.remove("c1")
	require.NoError(t, m.Refresh(context.Background(), "c1"))
	require.Empty(t, m.Games())
}

func TestAViewTellsItsAge(t *testing.T) {
	f := newFake()
	clock := testclock.NewFakeClock(time.Unix(1000, 0))
	m := New(Options{Reader: f, Installation: "i", Log: logr.Discard(), Clock: clock})
	require.Zero(t, m.View(chess).At)
	f.set("c1", engine.StateRunning)
	m.compare([]engine.Container{f.containers["c1"]}, m.ask())
	require.Equal(t, time.Unix(1000, 0), m.View(chess).At)
	clock.Step(time.Minute)
	require.NoError(t, m.Refresh(context.Background(), "c1"))
	clock.Step(time.Hour)
	require.Equal(t, time.Unix(1060, 0), m.View(chess).At)
}

func TestRefreshThatFailsSaysSo(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateCreated)
	m := unrun(f)
	defer f.hang("c1")()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.Equal(t, engine.Timeout, engine.KindOf(m.Refresh(ctx, "c1")))
	require.Zero(t, count(m.metrics.inspectTimeouts), "it is us who gave up")
}

// An inspect that was asked before ours, and is answered after, tells of a time
// before what we did.
func TestAnEarlierInspectDoesNotUndoARefresh(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(*fakeReader)
		want engine.State
	}{
		{"changed", func(f *fakeReader) { f.set("c1", engine.StateExited) }, engine.StateExited},
		{"gone", func(f *fakeReader) { f.remove("c1") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.set("c1", engine.StateRunning)
			m := unrun(f)
			release := f.hang("c1")
			early := make(chan error, 1)
			go func() { early <- m.Refresh(context.Background(), "c1") }()
			awaitOne(t, "the early inspect to have its answer", f.held)
			f.mend("c1")
			c.act(f)
			require.NoError(t, m.Refresh(context.Background(), "c1"))
			require.True(t, m.shows("c1", c.want)())
			release()
			require.NoError(t, awaitOne(t, "the early inspect", early))
			require.True(t, m.shows("c1", c.want)())
			require.Empty(t, m.picture.gone, "nothing is remembered that no answer can undo")
		})
	}
}

func TestOthersContainersAreNotShown(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning, func(c *engine.Container) { c.Installation = "somebody else" })
	m := unrun(f)
	require.NoError(t, m.Refresh(context.Background(), "c1"))
	require.Empty(t, m.Games())
}

func TestTheOldestComesFirst(t *testing.T) {
	f := newFake()
	m := unrun(f)
	for id, age := range map[string]time.Duration{"young": time.Minute, "old": time.Hour, "twin": time.Minute} {
		f.set(id, engine.StateRunning, func(c *engine.Container) { c.CreatedAt = time.Unix(10000, 0).Add(-age) })
		require.NoError(t, m.Refresh(context.Background(), id))
	}
	var order []string
	for _, c := range m.View(chess).Containers {
		order = append(order, c.ID)
	}
	require.Equal(t, []string{"old", "twin", "young"}, order)
}

func TestAnAnnouncedChangeIsNotMissed(t *testing.T) {
	f := newFake()
	f.set("c1", engine.StateRunning)
	m := startSeen(t, f, func(o *Options) { o.Resync = 20 * time.Millisecond })
	defer f.hang("c1")()
	f.tell("c1")
	awaitOne(t, "an inspect to hang", f.held)
	f.set("c1", engine.StateExited)
	eventually(t, "a list is first to tell", m.shows("c1", engine.StateExited))
	require.Zero(t, count(m.metrics.eventsMissed))
}

func TestAnEventWaitsForAnInspectThatFollowsIt(t *testing.T) {
	m := unrun(newFake())
	m.seen = true
	before := m.ask()
	m.announced["c1"] = announcement{after: before} // an event, heard while an inspect is under way
	m.show(engine.Container{ID: "c1", Game: chess, Installation: "i", State: engine.StateRunning}, before)
	m.compare([]engine.Container{{ID: "c1", Game: chess, State: engine.StateExited}}, m.ask())
	require.Zero(t, count(m.metrics.eventsMissed), "the event told of the end")
	m.show(engine.Container{ID: "c1", Game: chess, Installation: "i", State: engine.StateExited}, m.ask())
	m.compare(nil, m.ask())
	require.Equal(t, 1, count(m.metrics.eventsMissed), "no event told of the removal")
}

func TestAnEventOfWhatIsKnownIsNotFollowed(t *testing.T) {
	for _, c := range []struct {
		name   string
		booted time.Time
		asked  int
	}{
		{"an engine on this host", time.Unix(1000, 0), 0},
		{"an engine with a clock of its own", time.Time{}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.booted = c.booted
			f.set("c1", engine.StateRunning)
			m := startSeen(t, f, nil)
			happened := time.Now()
			require.NoError(t, m.Refresh(t.Context(), "c1"))
			before := count(m.metrics.inspects)
			f.tellOf("c1", happened)
			eventually(t, "it is followed", m.followed(happened))
			require.Equal(t, c.asked, count(m.metrics.inspects)-before)
			last := f.tell("c1")
			eventually(t, "what happens later is followed, too", m.followed(last))
			require.Equal(t, c.asked+1, count(m.metrics.inspects)-before)
			require.Zero(t, count(m.metrics.eventsMissed))
		})
	}
}
