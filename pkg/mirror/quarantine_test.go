package mirror

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// create makes a container of a game on a simulated engine.
func create(t *testing.T, sim *enginetest.Sim, game engine.GameID) (id string) {
	t.Helper()
	require.NoError(t, sim.EnsureNetwork(t.Context(), "net", "i"))
	id, err := sim.Create(t.Context(), engine.ContainerSpec{
		Name: game.Name, Image: "game:1.0.0", Network: "net",
		Labels: map[string]string{
			v1alpha1.LabelInstallation: "i", v1alpha1.LabelNamespace: game.Namespace, v1alpha1.LabelGame: game.Name,
		},
	})
	require.NoError(t, err)
	return id
}

// Calls that never end hold none of the inspectors: with one that did, nothing
// here would ever be seen.
func TestThoseWhoHangDelayNobody(t *testing.T) {
	const games, hung = 1000, 50
	sim := enginetest.NewSim("game:1.0.0")
	var ids []string
	for i := range games {
		id := create(t, sim, engine.GameID{Namespace: "default", Name: fmt.Sprint("game-", i)})
		require.NoError(t, sim.Start(t.Context(), id))
		if i < hung {
			sim.Inject(enginetest.Fault{Verb: "Inspect", On: id, Hang: true})
		}
		ids = append(ids, id)
	}
	m := startSeen(t, sim, func(o *Options) { o.InspectTimeout, o.Patience = time.Hour, 20*time.Millisecond })
	for _, i := range []int{hung, games / 2, games - 1} {
		sim.Kill(ids[i], enginetest.Ending{Code: 3})
		game := engine.GameID{Namespace: "default", Name: fmt.Sprint("game-", i)}
		eventually(t, "how a healthy one ended", func() bool { return m.View(game).Containers[0].Exit != nil })
	}
	sim.CutStreams() // everything is asked again
	again := create(t, sim, chess)
	eventually(t, "a new one", m.shows(again, engine.StateCreated))
}

func TestOneThatDoesNotAnswerIsMarkedUntilItDoes(t *testing.T) {
	f := newFake()
	f.set("hangs", engine.StateRunning)
	f.hang("hangs")
	changed := make(chan engine.GameID, 100)
	m := startSeen(t, f, func(o *Options) {
		o.InspectTimeout, o.Patience, o.Resync = 50*time.Millisecond, 5*time.Millisecond, 20*time.Millisecond
		o.OnChange = func(g engine.GameID) { changed <- g }
	})
	quarantined := func() int { return int(testutil.ToFloat64(m.metrics.quarantined)) }
	require.False(t, m.find("hangs").Inspected, "it stays as the list told it")
	eventually(t, "the mark", func() bool { return m.find("hangs").Unresponsive })
	require.Equal(t, 1, quarantined())
	require.Positive(t, count(m.metrics.inspectTimeouts))
	f.set("hangs", engine.StateExited)
	eventually(t, "what a list still tells", m.shows("hangs", engine.StateExited))
	require.True(t, m.find("hangs").Unresponsive)
	for len(changed) > 0 {
		<-changed
	}
	f.mend("hangs")
	f.tell("hangs") // it need not wait for its turn
	require.Equal(t, chess, awaitOne(t, "the word that it answers", changed))
	require.True(t, m.find("hangs").Inspected)
	require.False(t, m.find("hangs").Unresponsive)
	require.Zero(t, quarantined())
}

func TestOneThatVanishesLeavesTheQuarantine(t *testing.T) {
	f := newFake()
	f.set("hangs", engine.StateRunning)
	f.hang("hangs")
	m := startSeen(t, f, func(o *Options) {
		o.InspectTimeout, o.Patience, o.Resync = 50*time.Millisecond, 5*time.Millisecond, 20*time.Millisecond
	})
	eventually(t, "the mark", func() bool { return m.find("hangs").Unresponsive })
	f.remove("hangs")
	eventually(t, "gone", m.shows("hangs", ""))
	require.Zero(t, testutil.ToFloat64(m.metrics.quarantined))
}

func TestInspectsInFlightAreCapped(t *testing.T) {
	f := newFake()
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint("hangs-", i))
		f.set(ids[i], engine.StateRunning)
		f.hang(ids[i])
	}
	m := startSeen(t, f, func(o *Options) {
		o.InspectTimeout, o.Patience = 100*time.Millisecond, 10*time.Millisecond
		o.Inspectors, o.SlowInspectors, o.Refreshes = 3, 1, 2
	})
	var callers errgroup.Group
	for _, id := range ids {
		callers.Go(func() error {
			require.Equal(t, engine.Timeout, engine.KindOf(m.Refresh(context.Background(), id)))
			return nil
		})
	}
	for _, id := range ids {
		f.tell(id)
	}
	require.NoError(t, callers.Wait())
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, 3+1+2, f.most)
}

func TestARefreshWaitsNoLongerThanItsCaller(t *testing.T) {
	f := newFake()
	f.set("hangs", engine.StateRunning)
	defer f.hang("hangs")()
	m := New(Options{Reader: f, Installation: "i", Refreshes: 1})
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() { first <- m.Refresh(ctx, "hangs") }()
	awaitOne(t, "the only one to ask", f.held)
	late, stop := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer stop()
	require.Equal(t, engine.Timeout, engine.KindOf(m.Refresh(late, "any")))
	require.Empty(t, f.held, "it never asked")
	cancel()
	require.Equal(t, engine.Timeout, engine.KindOf(awaitOne(t, "the first", first)))
}
