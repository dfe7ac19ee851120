package plan

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// meant writes down that an action is about to be done.
func (s *scene) meant(a Action, changes ...func(*Intent)) *scene {
	intent := IntentTo(a, s.in.View)
	intent.ID, intent.At, intent.Deadline = fmt.Sprint("o-", len(s.in.Intents)+1), s.in.Now, s.in.Now.Add(time.Minute)
	for _, change := range changes {
		change(intent)
	}
	s.in.Intents = append(s.in.Intents, *intent)
	return s
}

// ends ends the run of the first container.
func (s *scene) ends(code int32) *scene {
	c := &s.in.View.Containers[0]
	c.State, c.Exit = engine.StateExited, &engine.Exit{Code: code, FinishedAt: s.in.Now}
	return s
}

func (s *scene) runs() *scene {
	c := &s.in.View.Containers[0]
	c.State, c.Exit, c.StartedAt = engine.StateRunning, nil, s.in.Now
	return s
}

func goesAway(r *v1alpha1.GameRuntime) { r.DeletionTimestamp = &metav1.Time{Time: now} }

func outcome(o string) func(*Intent) { return func(i *Intent) { i.Outcome = o } }

func TestWhoEndedIt(t *testing.T) {
	stopIt := StopContainer{ID: "c1", Cause: v1alpha1.TerminationStoppedByUs, Why: whyStopped}
	probe := StopContainer{ID: "c1", Cause: v1alpha1.TerminationProbeFailed, Why: "the liveness probe failed"}
	remove := RemoveContainer{ID: "c1"}
	ran := func() *scene { return newScene().container("c1", engine.StateRunning).reported().later(time.Minute) }
	const byUs, probed = v1alpha1.TerminationStoppedByUs, v1alpha1.TerminationProbeFailed
	for _, c := range []struct {
		name  string
		scene *scene
		want  v1alpha1.TerminationReason
		by    string
	}{
		{"nobody meant it", ran().ends(137), v1alpha1.TerminationCrashed, ""},
		{"the record asks for Stopped, but it crashed before", ran().spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }).ends(1), v1alpha1.TerminationCrashed, ""},
		{"the record is deleted, but it crashed before", ran().record(goesAway).ends(1), v1alpha1.TerminationCrashed, ""},
		{"stopped, the intent still open", ran().meant(stopIt).later(5 * time.Second).ends(137), byUs, "o-1"},
		{"stopped, and said so", ran().meant(stopIt, outcome(v1alpha1.OperationSucceeded)).later(time.Second).ends(0), byUs, "o-1"},
		{"stopped, and not answered", ran().meant(stopIt, outcome(v1alpha1.OperationUnknown)).later(time.Second).ends(143), byUs, "o-1"},
		{"stopped, the engine said it could not", ran().meant(stopIt, outcome(v1alpha1.OperationFailed)).later(time.Second).ends(137), byUs, "o-1"},
		{"stopped for its probe", ran().meant(probe).later(time.Second).ends(143), probed, "o-1"},
		{"killed by its removal", ran().meant(remove).later(time.Second).ends(137), byUs, "o-1"},
		{"crashed long before the stop", ran().ends(1).later(2 * clockTolerance).meant(stopIt), v1alpha1.TerminationCrashed, ""},
		{"the engine's clock is behind", ran().ends(143).later(clockTolerance / 2).meant(stopIt), byUs, "o-1"},
		{"crashed long after a stop that never came", ran().meant(stopIt).later(10 * time.Minute).ends(1), v1alpha1.TerminationCrashed, ""},
		{"crashed in the run after the stop", ran().meant(stopIt).later(100 * time.Millisecond).runs().later(100 * time.Millisecond).ends(1), v1alpha1.TerminationCrashed, ""},
		{"another container was meant", ran().meant(StopContainer{ID: "c0"}).ends(1), v1alpha1.TerminationCrashed, ""},
		{"its start was meant", ran().meant(StartContainer{ID: "c1"}).ends(1), v1alpha1.TerminationCrashed, ""},
		{"vanished", ran().gone(), v1alpha1.TerminationUnknown, ""},
		{"vanished after a stop alone", ran().meant(stopIt).gone(), v1alpha1.TerminationUnknown, ""},
		{"vanished, after a stop that succeeded", ran().meant(stopIt, outcome(v1alpha1.OperationSucceeded)).gone(), v1alpha1.TerminationUnknown, ""},
		{"vanished, after a removal that the engine refused", ran().meant(remove, outcome(v1alpha1.OperationFailed)).gone(), v1alpha1.TerminationUnknown, ""},
		{"vanished, after a stop and a removal that was refused", ran().meant(stopIt).meant(remove, outcome(v1alpha1.OperationFailed)).gone(), v1alpha1.TerminationUnknown, ""},
		{"vanished beside the one that it replaced", ran().gone().container("c0", engine.StateExited, exited(0, time.Hour)), v1alpha1.TerminationUnknown, ""},
		{"removed", ran().meant(remove).gone(), byUs, "o-1"},
		{"removed, and said so", ran().meant(remove, outcome(v1alpha1.OperationSucceeded)).gone(), byUs, "o-1"},
		{"removed, and not answered", ran().meant(remove, outcome(v1alpha1.OperationUnknown)).later(time.Hour).gone(), byUs, "o-1"},
		{"stopped for its probe, then removed", ran().meant(probe).meant(remove).gone(), probed, "o-1"},
		{"vanished, after it was to be removed in an earlier run",
			newScene().container("c1", engine.StateRunning).meant(remove).later(2 * time.Minute).runs().reported().gone(), v1alpha1.TerminationUnknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkStatus(t, c.scene.in)
			end := c.scene.reported().in.Record.Status.LastTermination
			require.Equal(t, c.want, end.Reason)
			require.Equal(t, c.by, end.Operation)
			require.Equal(t, c.want == v1alpha1.TerminationUnknown, end.Disappeared)
			if c.want == byUs {
				require.Zero(t, end.InARow)
			}
		})
	}
}

func TestWhatTheViewTellsOfOpenIntents(t *testing.T) {
	created := func(id string) func(*engine.Container) {
		return func(c *engine.Container) { c.Operation = id }
	}
	seen := func(s *scene, later time.Duration) *scene {
		s.later(later)
		s.in.View.At = s.in.Now
		return s
	}
	running := func() *scene { return newScene().container("c1", engine.StateRunning) }
	const succeeded, failed, unknown = v1alpha1.OperationSucceeded, v1alpha1.OperationFailed, v1alpha1.OperationUnknown
	for _, c := range []struct {
		name  string
		scene *scene
		want  string
	}{
		{"created", seen(newScene().meant(CreateContainer{}).container("c1", engine.StateCreated, created("o-1")), time.Second), succeeded},
		{"not created so far", seen(newScene().meant(CreateContainer{}).container("c0", engine.StateExited), time.Second), unknown},
		{"not created", seen(newScene().meant(CreateContainer{}), time.Hour), failed},
		{"started", seen(newScene().container("c1", engine.StateExited).meant(StartContainer{ID: "c1"}).runs(), time.Second), succeeded},
		{"not started", seen(newScene().container("c1", engine.StateExited).meant(StartContainer{ID: "c1"}), time.Hour), failed},
		{"stopped", seen(running().meant(StopContainer{ID: "c1"}).ends(143), time.Second), succeeded},
		{"still to be stopped", seen(running().meant(StopContainer{ID: "c1"}), time.Second), unknown},
		{"not stopped", seen(running().meant(StopContainer{ID: "c1"}), time.Hour), failed},
		{"stopped, and runs again", seen(running().meant(StopContainer{ID: "c1"}).later(time.Second).runs(), time.Second), succeeded},
		{"removed", seen(running().meant(RemoveContainer{ID: "c1"}).gone(), time.Second), succeeded},
		{"not removed", seen(running().meant(RemoveContainer{ID: "c1"}), time.Hour), failed},
		{"updated", seen(running().meant(UpdateResources{ID: "c1"}), time.Second), succeeded},
		{"renamed, which nothing tells", seen(running().meant(RenameContainer{ID: "c1"}), time.Hour), unknown},
		{"state removed", seen(newScene().record(goesAway).meant(RemoveState{}), time.Second), succeeded},
		{"state there", seen(keepsState(newScene().record(goesAway)).meant(RemoveState{}), time.Hour), failed},
		{"the view is older", running().meant(StopContainer{ID: "c1"}).ends(143), ""},
		{"it is in hand", inHand(seen(running().meant(StopContainer{ID: "c1"}), time.Second), "o-1"), ""},
		{"known", seen(running().meant(StopContainer{ID: "c1"}, outcome(failed)).ends(143), time.Second), ""},
		{"unknown as before", seen(running().meant(StopContainer{ID: "c1"}, outcome(unknown)), time.Second), ""},
		{"unknown so far", seen(running().meant(StopContainer{ID: "c1"}, outcome(unknown)).ends(143), time.Second), succeeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkStatus(t, c.scene.in)
			settled := Settled(c.scene.in)
			operation := c.scene.reported().in.Record.Status.LastOperation
			if c.want == "" {
				require.Empty(t, settled)
				told := slices.ContainsFunc(c.scene.in.Intents, func(i Intent) bool { return i.Outcome == failed })
				require.Equal(t, told, operation != nil, "what is decided is told")
				return
			}
			require.Len(t, settled, 1)
			require.Equal(t, c.want, settled[0].Outcome)
			require.Equal(t, c.want, operation.Outcome)
			require.Equal(t, "o-1", operation.ID)
		})
	}
}

func inHand(s *scene, operation string) *scene {
	s.in.InHand = &Work{Action: StopContainer{ID: "c1"}, Operation: operation}
	return s
}

func TestLastOperation(t *testing.T) {
	s := newScene().container("c1", engine.StateExited, exited(0, time.Minute))
	s.in.Last = &Outcome{Action: StartContainer{ID: "c1"}, Operation: "o-1", Err: &engine.Error{
		Op: "start container c1", Kind: engine.MountFailed, Err: errors.New("no such directory: /data/games/default/chess"),
	}}
	last := s.reported().in.Record.Status.LastOperation
	require.Equal(t, v1alpha1.OperationFailed, last.Outcome)
	require.Equal(t, v1alpha1.CodeContainerStartFailed, last.Code)
	require.Equal(t, "start container c1: no such directory: (state root)/default/chess", last.Message)
	require.Equal(t, last, s.later(time.Second).reported().in.Record.Status.LastOperation, "it stays")

	s.in.Last = &Outcome{Action: PullImage{Ref: "galaxy/chess:1.0.0"}}
	require.Equal(t, last, s.reported().in.Record.Status.LastOperation, "a pull changes no container")

	s.in.Last = &Outcome{Action: StartContainer{ID: "c1"}, Operation: "o-2", Err: &engine.Error{Kind: engine.Timeout, Err: errors.New("no answer")}}
	last = s.reported().in.Record.Status.LastOperation
	require.Equal(t, v1alpha1.OperationUnknown, last.Outcome)
	require.Equal(t, v1alpha1.CodeTimeout, last.Code)

	s.meant(StartContainer{ID: "c1"}, outcome(v1alpha1.OperationUnknown), func(i *Intent) { i.ID, i.At = "o-2", s.in.Now.Add(-10*time.Second) })
	s.runs().in.View.At = s.in.Now
	settled := s.reported().in.Record.Status.LastOperation
	require.Equal(t, v1alpha1.OperationSucceeded, settled.Outcome)
	require.Equal(t, last.At, settled.At, "the time that was told stays")
}

func TestOperationThatACrashKeptFromBeingToldIsTold(t *testing.T) {
	s := newScene().container("c1", engine.StateExited, exited(0, time.Minute)).reported()
	s.meant(StartContainer{ID: "c1"}, outcome(v1alpha1.OperationSucceeded)).runs()
	s.in.Last = &Outcome{Action: StartContainer{ID: "c1"}, Operation: "o-1"}
	started := s.reported().in.Record.Status.LastOperation
	require.Equal(t, started, s.later(time.Minute).reported().in.Record.Status.LastOperation, "told once")

	s.meant(StopContainer{ID: "c1"}, outcome(v1alpha1.OperationSucceeded)).later(time.Second).ends(0)
	checkStatus(t, s.in)
	told := s.reported().in.Record.Status.LastOperation
	require.Equal(t, "o-2", told.ID)
	require.Equal(t, v1alpha1.OperationSucceeded, told.Outcome)
	require.Equal(t, told, s.later(time.Minute).reported().in.Record.Status.LastOperation)
}

// TestEveryActionIsMeant: what changes a container cannot be done without an intent.
func TestEveryActionIsMeant(t *testing.T) {
	for _, a := range []Action{
		CreateContainer{}, StartContainer{}, StopContainer{}, RenameContainer{}, RemoveContainer{}, UpdateResources{}, RemoveState{},
	} {
		require.NotEmpty(t, IntentTo(a, engine.View{}).Action, "%T", a)
	}
	for _, a := range []Action{Wait{}, PullImage{}} {
		require.Nil(t, IntentTo(a, engine.View{}), "%T", a)
	}
}
