package mirror

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// TestOneLifeOnASimulatedEngine follows a container through events, without
// them, and through a reboot.
func TestOneLifeOnASimulatedEngine(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sim := enginetest.NewSim("game:1.0.0")
	m := startSeen(t, sim, func(o *Options) { o.Resync = 50 * time.Millisecond })
	require.NoError(t, sim.EnsureNetwork(ctx, "net", "i"))
	id, err := sim.Create(ctx, engine.ContainerSpec{
		Name: "chess", Image: "game:1.0.0", Network: "net",
		Labels: map[string]string{
			v1alpha1.LabelInstallation: "i", v1alpha1.LabelNamespace: chess.Namespace, v1alpha1.LabelGame: chess.Name,
		},
	})
	require.NoError(t, err)
	eventually(t, "created", m.shows(id, engine.StateCreated))
	require.NoError(t, sim.Start(ctx, id))
	eventually(t, "started", func() bool { c := m.find(id); return c.State == engine.StateRunning && c.Inspected && c.IP != "" })

	sim.LoseEvents(true)
	sim.Kill(id, enginetest.Ending{Code: 3})
	eventually(t, "the end that no event told", func() bool { c := m.find(id); return c.Exit != nil && c.Exit.Code == 3 })
	require.Positive(t, count(m.metrics.eventsMissed))
	sim.LoseEvents(false)

	require.NoError(t, sim.Start(ctx, id))
	eventually(t, "started again", func() bool { c := m.find(id); return c.State == engine.StateRunning && c.Inspected })
	sim.Reboot()
	eventually(t, "the end by the reboot", func() bool { c := m.find(id); return c.Exit != nil && c.Exit.Code == 255 })
	sim.RemoveByHand(id)
	eventually(t, "gone", m.shows(id, ""))
}
