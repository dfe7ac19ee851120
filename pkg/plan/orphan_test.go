package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// orphaned is a game without a record, whose containers were found an hour ago.
func orphaned(policy OrphanPolicy, containers ...engine.Container) Orphans {
	in := Orphans{
		Game: engine.GameID{Namespace: "default", Name: "chess"}, View: engine.View{Seen: true, Containers: containers},
		Fleet: engine.Fleet{Reachable: true, Since: now.Add(-time.Hour)}, FirstSeen: map[string]time.Time{},
		Policy: policy, Grace: time.Hour, Settings: Settings{Installation: "0123456789"}, Now: now,
	}
	for _, c := range containers {
		in.FirstSeen[c.ID] = now.Add(-time.Hour)
	}
	return in
}

func orphan(id string, state engine.State) engine.Container {
	return engine.Container{
		ID: id, Name: "chess", Installation: "0123456789", State: state, Image: "galaxy/chess:1.0.0", Inspected: true,
		Game: engine.GameID{Namespace: "default", Name: "chess"},
	}
}

func TestOrphans(t *testing.T) {
	running, exited, removing := orphan("c1", engine.StateRunning), orphan("c2", engine.StateExited), orphan("c3", engine.StateRemoving)
	young := func(in Orphans) Orphans {
		in.FirstSeen = map[string]time.Time{"c1": now.Add(-time.Minute), "c2": now.Add(-time.Second)}
		return in
	}
	cases := map[string]struct {
		in   Orphans
		want string
	}{
		"none":                           {orphaned(OrphansRemove), ""},
		"reported":                       {orphaned(OrphansReport, running), "Wait"},
		"running: stopped, then removed": {orphaned(OrphansRemove, running), "StopContainer RemoveContainer"},
		"ended: removed":                 {orphaned(OrphansRemove, exited), "RemoveContainer"},
		"both":                           {orphaned(OrphansRemove, running, exited), "StopContainer RemoveContainer RemoveContainer"},
		"within the grace period":        {young(orphaned(OrphansRemove, exited, running)), "Wait"},
		"on its way":                     {orphaned(OrphansRemove, removing), "Wait"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, verbs(ForOrphans(c.in))) })
	}
	t.Run("the first that is due is waited for", func(t *testing.T) {
		wait := ForOrphans(young(orphaned(OrphansRemove, removing, exited, running))).Next().(Wait)
		require.Equal(t, now.Add(59*time.Minute), wait.Until)
	})
	t.Run("another installation's is not touched", func(t *testing.T) {
		foreign := running
		foreign.Installation = "another"
		require.Equal(t, "Wait", verbs(ForOrphans(orphaned(OrphansRemove, foreign))))
	})
	t.Run("an engine that is away shows nothing", func(t *testing.T) {
		in := orphaned(OrphansRemove, running)
		in.Fleet.Reachable = false
		require.Equal(t, v1alpha1.ReasonEngineUnreachable, ForOrphans(in).Next().(Wait).Reason)
		in = orphaned(OrphansRemove, running)
		in.View.Seen = false
		require.Equal(t, v1alpha1.ReasonEngineNotSeen, ForOrphans(in).Next().(Wait).Reason)
	})
	t.Run("a stop in hand is waited for", func(t *testing.T) {
		in := orphaned(OrphansRemove, running)
		in.InHand = &Work{Action: StopContainer{ID: "c1"}}
		require.Equal(t, v1alpha1.ReasonStopping, ForOrphans(in).Next().(Wait).Reason)
	})
}

func TestOrphansAreReported(t *testing.T) {
	in := orphaned(OrphansRemove, orphan("c1", engine.StateRunning), orphan("c2", engine.StateExited), orphan("c3", engine.StateRemoving))
	in.FirstSeen["c2"] = now
	items := OrphanDrift(in)
	require.Equal(t, "declare the game, or remove the container", OrphanDrift(orphaned(OrphansReport, orphan("c1", engine.StateRunning)))[0].Action)
	require.Len(t, items, 2)
	require.Equal(t, "default/chess", items[0].Game)
	require.Equal(t, v1alpha1.DriftUnrecordedContainer, items[0].Kind)
	require.Equal(t, "chess, running, from galaxy/chess:1.0.0", items[0].Actual)
	require.Equal(t, "stop container c1", items[0].Action)
	require.Equal(t, "wait until 2026-05-04T13:00:00Z: then remove container c2", items[1].Action)
}
