package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// begins lets a container that was made be recorded, and run since some time
// after a start of it was meant.
func begins(after time.Duration, changes ...func(*Intent)) *scene {
	s := newScene().container("c1", engine.StateCreated).reported()
	return s.meant(StartContainer{ID: "c1"}, changes...).later(after).runs()
}

func TestWhoBeganARun(t *testing.T) {
	ours := func() *scene {
		return begins(time.Second).reported().later(time.Minute).ends(1).reported().later(time.Minute)
	}
	const succeeded, failed, unknown = v1alpha1.OperationSucceeded, v1alpha1.OperationFailed, v1alpha1.OperationUnknown
	for _, c := range []struct {
		name       string
		scene      *scene
		by         string
		unexpected int32
	}{
		{"us", begins(time.Second, outcome(succeeded)), "o-1", 0},
		{"us, by an engine whose clock is behind", begins(-clockTolerance/2, outcome(succeeded)), "o-1", 0},
		{"us, and the answer was lost", begins(time.Second, outcome(unknown)), "o-1", 0},
		{"us, and the manager was killed", begins(time.Second), "o-1", 0},
		{"not us: the engine refused", begins(time.Second, outcome(failed)), "", 0},
		{"not us: long after", begins(time.Hour), "", 0},
		{"not known: adopted", newScene().container("c1", engine.StateRunning), "", 0},
		{"not known: recorded by a manager that told of none", newScene().container("c1", engine.StateRunning).reported().later(time.Minute), "", 0},
		{"us, again", ours().meant(StartContainer{ID: "c1"}, outcome(succeeded)).runs(), "o-2", 0},
		{"us, again, within a second", begins(0).reported().later(100 * time.Millisecond).ends(1).reported().meant(StartContainer{ID: "c1"}).runs(), "o-2", 0},
		{"somebody else, after us", ours().runs(), "", 1},
		{"somebody else, at once", begins(time.Second).reported().later(time.Second).runs(), "", 1},
		{"somebody else, twice", ours().runs().reported().later(time.Second).runs(), "", 2},
		{"somebody else, then us", ours().runs().reported().later(time.Minute).ends(1).reported().meant(StartContainer{ID: "c1"}).runs(), "o-2", 1},
		{"somebody else, after it was adopted", newScene().container("c1", engine.StateRunning).reported().later(time.Minute).runs(), "", 1},
		{"us, another container", ours().gone().container("c2", engine.StateCreated).reported().meant(StartContainer{ID: "c2"}).runs(), "o-2", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkStatus(t, c.scene.in)
			told := c.scene.reported().in.Record.Status.Container
			require.Equal(t, c.by, told.StartedBy)
			require.Equal(t, c.unexpected, told.UnexpectedStarts)
			c.scene.in.Intents = nil
			require.Equal(t, told, c.scene.later(time.Hour).reported().in.Record.Status.Container, "it stays, whatever is forgotten")
			c.scene.in.View.Containers[0].Inspected = false
			require.Equal(t, c.by, c.scene.reported().in.Record.Status.Container.StartedBy, "nor does a list alone change it")
		})
	}
}

func TestUnexpectedStartIsTold(t *testing.T) {
	s := begins(time.Second).reported().later(time.Minute)
	before := s.in.Record.Status
	after := s.runs().reported().in.Record.Status
	require.Equal(t, []Note{{Type: "Warning", Reason: v1alpha1.ReasonUnexpectedStart, Message: "somebody else started container chess.default.01234567"}},
		Story(before, after))
	require.Empty(t, Story(after, s.reported().in.Record.Status))
}

// While a stop of ours is in hand, a container that is gone is not told of, and
// not forgotten: it may be our doing, and it may not.
func TestVanishedWhileAStopIsInHand(t *testing.T) {
	stop := StopContainer{ID: "c1", Cause: v1alpha1.TerminationStoppedByUs, Why: whyStopped}
	removed := func(s *scene) *scene { return s.meant(RemoveContainer{ID: "c1"}, outcome(v1alpha1.OperationUnknown)) }
	untouched := func(s *scene) *scene { return s }
	for name, c := range map[string]struct {
		then func(*scene) *scene
		want bool
	}{
		"by somebody else": {untouched, true},
		"by us":            {removed, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.then(newScene().container("c1", engine.StateRunning).reported().later(time.Minute).meant(stop))
			before := s.in.Record.Status.Container
			s.in.InHand = &Work{Action: stop, Operation: "o-1"}
			s.gone().later(time.Second)
			checkStatus(t, s.in)
			_, ended := Ended(s.in)
			require.False(t, ended)
			s.reported()
			require.Nil(t, s.in.Record.Status.LastTermination, "not told yet")
			require.Equal(t, before, s.in.Record.Status.Container, "nor that it is gone")

			s.in.InHand = nil
			s.in.Intents[0].Outcome = v1alpha1.OperationSucceeded
			_, ended = Ended(s.in)
			require.True(t, ended)
			was := s.in.Record.Status
			end := s.reported().in.Record.Status.LastTermination
			require.Equal(t, c.want, end.Disappeared, "%+v", end)
			require.Equal(t, v1alpha1.ContainerRemoved, s.in.Record.Status.Container.State)
			reasons := map[bool]string{true: v1alpha1.ReasonVanished, false: v1alpha1.ReasonEnded}
			require.Equal(t, reasons[c.want], Story(was, s.in.Record.Status)[0].Reason)
			require.Equal(t, end, s.later(time.Second).reported().in.Record.Status.LastTermination, "once")
		})
	}
}

// What a list alone told of an end is enough to miss a container by.
func TestVanishedBeforeItWasInspected(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported()
	c := &s.in.View.Containers[0]
	c.State, c.StartedAt, c.Inspected = engine.StateExited, time.Time{}, false
	s.reported().gone().reported()
	require.True(t, s.in.Record.Status.LastTermination.Disappeared)
}
