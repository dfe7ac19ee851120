package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/plan"
)

// byHand starts a container as a person does, labelled for an installation.
func (w *world) byHand(name, installation string, change func(*engine.ContainerSpec)) (id string) {
	w.t.Helper()
	spec := engine.ContainerSpec{
		Name: name, Image: image, Network: w.settings.Network,
		Labels: map[string]string{
			v1alpha1.LabelInstallation: installation, v1alpha1.LabelNamespace: chess.Namespace, v1alpha1.LabelGame: chess.Name,
		},
	}
	if change != nil {
		change(&spec)
	}
	ctx := context.Background()
	require.NoError(w.t, w.sim.EnsureNetwork(ctx, spec.Network, installation))
	id, err := w.sim.Create(ctx, spec)
	require.NoError(w.t, err)
	require.NoError(w.t, w.sim.Start(ctx, id))
	if installation == w.settings.Installation {
		w.seen(func(v engine.View) bool {
			return len(v.Containers) > 0 && v.Containers[len(v.Containers)-1].State == engine.StateRunning
		})
	}
	return id
}

func (w *world) state(id string) engine.State {
	w.t.Helper()
	c, err := w.sim.Inspect(context.Background(), id)
	if engine.KindOf(err) == engine.NotFound {
		return ""
	}
	require.NoError(w.t, err)
	return c.State
}

func TestOrphanIsReported(t *testing.T) {
	w := newWorld(t)
	told := 0
	w.orphans.changed = func() { told++ }
	id := w.byHand("by-hand", w.settings.Installation, nil)
	w.settle()
	w.clock.Step(24 * time.Hour)
	w.settle()
	require.Equal(t, engine.StateRunning, w.state(id))
	items := w.orphans.report()
	require.Len(t, items, 1)
	require.Equal(t, id, items[0].Container)
	require.Equal(t, 1, told, "news is told once")

	w.sim.RemoveByHand(id)
	w.seen(func(v engine.View) bool { return len(v.Containers) == 0 })
	w.settle()
	require.Empty(t, w.orphans.report())
}

func TestOrphanIsRemovedAfterItsGracePeriod(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy, w.orphans.grace = plan.OrphansRemove, time.Hour
	w.declare(nil)
	w.settle()
	lost := w.container().ID
	record := w.read()
	record.Finalizers = nil // somebody who knows better
	require.NoError(t, w.client.Update(context.Background(), record))
	require.NoError(t, w.client.Delete(context.Background(), record))
	foreign := w.byHand("foreign", "another installation", nil)
	unlabelled := w.byHand("unlabelled", "", func(s *engine.ContainerSpec) { s.Labels = nil })

	require.Equal(t, time.Hour, w.step().RequeueAfter)
	w.clock.Step(time.Hour - time.Second)
	require.Equal(t, time.Second, w.step().RequeueAfter)
	require.Equal(t, engine.StateRunning, w.state(lost), "within its grace period")
	w.clock.Step(time.Second)
	w.settle()
	require.Empty(t, w.state(lost))
	require.True(t, w.states.exists(chess), "the state directory stays")
	require.Equal(t, engine.StateRunning, w.state(foreign))
	require.Equal(t, engine.StateRunning, w.state(unlabelled))
	require.Empty(t, w.orphans.report())
}

func TestOrphanThatCannotBeRemovedIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy = plan.OrphansRemove
	id := w.byHand("by-hand", w.settings.Installation, nil)
	mend := w.sim.Inject(enginetest.Fault{Verb: "Remove", Kind: engine.Failed})
	w.step()
	require.Equal(t, chess, <-w.woken, "its stop has ended")
	require.Equal(t, backstop, w.step().RequeueAfter)
	require.Equal(t, engine.StateExited, w.state(id))
	mend()
	w.settle()
	require.Empty(t, w.state(id))
}

// What a record is being deleted for is its own until the end, and a record that
// only the store knows yet is one.
func TestWhatHasARecordIsNoOrphan(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy = plan.OrphansRemove
	w.declare(nil)
	w.settle()
	w.orphans.changed = func() { t.Error("an orphan was seen") }
	require.NoError(t, w.client.Delete(context.Background(), w.read()))
	w.settle()
	require.Equal(t, 1, w.sim.Calls("Stop"))

	w.orphans.changed = nil
	w.declare(nil)
	id := w.byHand("by-hand", w.settings.Installation, nil)
	w.client = fake.NewClientBuilder().WithScheme(w.client.Scheme()).Build()
	require.Positive(t, w.step().RequeueAfter)
	require.False(t, w.busy(), "nothing is begun")
	require.Equal(t, engine.StateRunning, w.state(id))

	w.client = w.live.(client.Client)
	w.step()
	require.Empty(t, w.orphans.report(), "the record has come")
}

func TestOrphansWithLabelsOfNoRecord(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy = plan.OrphansRemove
	id := w.byHand("by-hand", w.settings.Installation, nil)
	nameless := engine.ContainerSpec{
		Name: "nameless", Image: image, Network: w.settings.Network,
		Labels: map[string]string{v1alpha1.LabelInstallation: w.settings.Installation},
	}
	other, err := w.sim.Create(context.Background(), nameless)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(w.mirror.Games()) == 2 }, patience, time.Millisecond)
	result, err := w.unrecorded(context.Background(), client.ObjectKey{})
	require.NoError(t, err)
	require.Zero(t, result)
	require.Empty(t, w.state(other))
	require.Equal(t, engine.StateRunning, w.state(id), "another game")
}
