package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

func TestBrakeHoldsWhatVanished(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported()
	before := s.in.Record.Status
	require.False(t, Vanished(s.in.Record, s.in.View))
	s.later(time.Minute).gone()
	require.True(t, Vanished(s.in.Record, s.in.View))
	s.in.Brake = &Brake{Since: s.in.Now, Message: "30 of 50 games vanished"}
	for range 2 {
		require.Equal(t, "Wait CreateContainer StartContainer", verbs(For(s.in)))
		checkStatus(t, s.in)
		s.reported()
		after := s.in.Record.Status
		require.Equal(t, v1alpha1.ReasonMassVanish, after.Pending.Reason)
		require.Equal(t, "30 of 50 games vanished", after.Pending.Message)
		require.Equal(t, v1alpha1.PhasePending, after.Phase)
		require.Equal(t, before.Container, after.Container, "its end is not believed yet")
		require.Nil(t, after.LastTermination)
		require.True(t, Vanished(s.in.Record, s.in.View), "nor after a restart of the manager")
		absentImage(s)
		require.Equal(t, "Wait PullImage CreateContainer StartContainer", verbs(For(s.in)))
		s.in.Image.Present = true
	}

	s.in.Brake = nil
	s.reported()
	require.Equal(t, v1alpha1.ContainerRemoved, s.in.Record.Status.Container.State)
	require.Equal(t, v1alpha1.TerminationUnknown, s.in.Record.Status.LastTermination.Reason)
	require.False(t, Vanished(s.in.Record, s.in.View))
	s.later(time.Minute)
	require.Equal(t, "CreateContainer StartContainer", verbs(For(s.in)))
}

func TestBrakeForgetsWhatIsBack(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported().gone()
	s.in.Brake = &Brake{Message: "30 of 50 games vanished"}
	s.reported()
	s.in.Brake = nil
	s.container("c1", engine.StateRunning).reported()
	require.True(t, For(s.in).InSync())
	require.Zero(t, s.in.Record.Status.Restarts, "it was never away")
	require.Equal(t, v1alpha1.PhaseRunning, s.in.Record.Status.Phase)
}

func TestWhatNeverRanDidNotVanish(t *testing.T) {
	s := newScene()
	require.False(t, Vanished(s.in.Record, s.in.View))
	s.container("c1", engine.StateRunning).reported().gone()
	require.False(t, Vanished(s.in.Record, engine.View{}), "an engine that was not seen tells of nothing")
}
