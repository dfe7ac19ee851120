package command

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// stage is a game as the reconciler sees it: its statuses are those that
// pkg/plan writes.
type stage struct {
	plan.Input
	wish Accepted
}

func newStage() *stage {
	record := &v1alpha1.GameRuntime{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "chess", UID: "u-1", Generation: 1},
		Spec: v1alpha1.GameRuntimeSpec{
			State: v1alpha1.StateRunning, Image: image, ImagePullPolicy: v1alpha1.PullIfNotPresent,
			RestartPolicy: v1alpha1.RestartAlways, StopGracePeriodSeconds: ptr.To[int32](30),
			Resources: v1alpha1.Resources{CPU: resource.MustParse("1"), Memory: resource.MustParse("512Mi"), Pids: 512},
			Storage:   v1alpha1.Storage{MountPath: "/var/lib/galaxy-game"},
			Backoff:   v1alpha1.Backoff{Initial: metav1.Duration{Duration: time.Second}, Max: metav1.Duration{Duration: time.Minute}},
			Update:    v1alpha1.Update{OnUnhealthy: v1alpha1.UnhealthyRollback},
		},
	}
	return &stage{Input: plan.Input{
		Record: record, View: engine.View{Seen: true, At: noon}, Now: noon, Image: plan.Image{Present: true},
		Fleet:    engine.Fleet{Reachable: true, Since: noon.Add(-time.Hour), Info: engine.Info{ID: "e-1", Name: "host"}},
		Settings: plan.Settings{Installation: "0123456789", StateRoot: "/data/games"},
	}}
}

// asked is a wish that changed the record.
func (s *stage) asked(verb Verb, change func(*v1alpha1.GameRuntimeSpec)) *stage {
	change(&s.Record.Spec)
	s.Record.Generation++
	s.wish = answer(verb, "chess", s.Record, false).Accepted
	return s
}

func (s *stage) start() *stage {
	return s.asked(VerbStart, func(spec *v1alpha1.GameRuntimeSpec) { spec.State = v1alpha1.StateRunning })
}

func (s *stage) stop() *stage {
	return s.asked(VerbStop, func(spec *v1alpha1.GameRuntimeSpec) { spec.State = v1alpha1.StateStopped })
}

func (s *stage) patch() *stage {
	return s.asked(VerbPatch, func(spec *v1alpha1.GameRuntimeSpec) { spec.Image = newer })
}

func (s *stage) restart() *stage {
	return s.asked(VerbRestart, func(spec *v1alpha1.GameRuntimeSpec) { spec.RestartedAt = &metav1.Time{Time: noon} })
}

// replay is a start that changed nothing.
func (s *stage) replay() *stage {
	s.wish = answer(VerbStart, "chess", s.Record, true).Accepted
	return s
}

func (s *stage) cleanUp() *stage {
	s.Record.DeletionTimestamp = &metav1.Time{Time: noon}
	s.Record.Generation++
	s.wish = answer(VerbCleanUp, "chess", s.Record, false).Accepted
	return s
}

// spec is somebody else's change.
func (s *stage) spec(change func(*v1alpha1.GameRuntimeSpec)) *stage {
	change(&s.Record.Spec)
	s.Record.Generation++
	return s
}

func (s *stage) record(change func(*v1alpha1.GameRuntime)) *stage {
	change(s.Record)
	return s
}

// shows is one container, made from the record as it is now by operation op-1 and
// started by op-2.
func (s *stage) shows(id string, state engine.State, changes ...func(*engine.Container)) *stage {
	c := s.made(id, state)
	for _, change := range changes {
		change(&c)
	}
	s.View.Containers = []engine.Container{c}
	return s
}

func (s *stage) made(id string, state engine.State) engine.Container {
	spec := plan.ContainerSpec(s.Record, s.Settings)
	c := engine.Container{
		ID: id, Name: spec.Name, Installation: s.Settings.Installation, Game: plan.GameOf(s.Record),
		UID: string(s.Record.UID), SpecHash: plan.SpecHash(s.Record, s.Settings), State: state, Inspected: true,
		Image: s.Record.Spec.Image, ImageID: "sha256:1", Resources: spec.Resources,
	}
	if state != engine.StateCreated {
		c.StartedAt = s.Now
		s.Intents = append(s.Intents, plan.Intent{
			ID: "start-" + id, Action: v1alpha1.ActionStart, Container: id, Outcome: v1alpha1.OperationSucceeded, At: s.Now, Deadline: s.Now.Add(time.Minute),
		})
	}
	return c
}

// updated is a new container beside the one that it replaced.
func (s *stage) updated(id string, state engine.State, changes ...func(*engine.Container)) *stage {
	old := s.View.Containers[0]
	old.Name += ".previous"
	old.State, old.Exit = engine.StateExited, &engine.Exit{FinishedAt: s.Now}
	return s.shows(id, state, changes...).and(old)
}

func (s *stage) and(c engine.Container) *stage {
	s.View.Containers = append([]engine.Container{c}, s.View.Containers...)
	return s
}

func (s *stage) gone() *stage {
	s.View.Containers = nil
	return s
}

// stopped is how the engine shows a stop of ours.
func (s *stage) stopped() *stage {
	c := &s.View.Containers[0]
	s.Intents = append(s.Intents, plan.Intent{
		ID: "stop-" + c.ID, Action: v1alpha1.ActionStop, Container: c.ID, Run: c.StartedAt, Cause: v1alpha1.TerminationStoppedByUs,
		Outcome: v1alpha1.OperationSucceeded, At: s.Now, Deadline: s.Now.Add(time.Minute),
	})
	return s.ended(143)
}

func (s *stage) ended(code int32) *stage {
	c := &s.View.Containers[0]
	c.State, c.Exit = engine.StateExited, &engine.Exit{Code: code, FinishedAt: s.Now}
	return s
}

func (s *stage) later(d time.Duration) *stage {
	s.Now = s.Now.Add(d)
	s.View.At = s.Now
	return s
}

// told lets the status catch up, as a pass of the reconciler does.
func (s *stage) told() *stage {
	s.Record.Status = plan.Status(s.Input, plan.For(s.Input))
	s.Last = nil
	return s
}

// did is something that went well before.
func (s *stage) did(action plan.Action) *stage {
	s.Last = &plan.Outcome{Action: action, Operation: "op-8"}
	return s.told()
}

func (s *stage) failed(action plan.Action, kind engine.Kind) *stage {
	return s.failedFor(action, &engine.Error{Op: "try", Kind: kind, Err: errors.New("no: /data/games/default/chess")})
}

func (s *stage) failedFor(action plan.Action, err error) *stage {
	operation := "op-9"
	if _, pull := action.(plan.PullImage); pull {
		operation = "" // it changes no container
	}
	s.Last = &plan.Outcome{Action: action, Operation: operation, Err: err}
	return s.told()
}

func (s *stage) engineAway() *stage {
	s.Fleet.Reachable, s.Fleet.Reason, s.Fleet.Since = false, "connection refused", s.Now
	return s.told()
}

func (s *stage) running() *stage { return s.shows("c1", engine.StateRunning).told() }

const (
	notDone = "not done"
	done    = "success"
)

// conclusion is what is told of a wish, on a stage.
type conclusion struct {
	name      string
	stage     *stage
	want      string
	operation string
}

// What the records' owners did meanwhile.
var (
	never     = func(s *v1alpha1.GameRuntimeSpec) { s.RestartPolicy = v1alpha1.RestartNever }
	onFailure = func(s *v1alpha1.GameRuntimeSpec) { s.RestartPolicy = v1alpha1.RestartOnFailure }
	paused    = func(r *v1alpha1.GameRuntime) { r.Annotations = map[string]string{v1alpha1.AnnotationPaused: "true"} }
)

// What was tried.
var create, start, pull = plan.CreateContainer{}, plan.StartContainer{}, plan.PullImage{}

func started() []conclusion {
	return []conclusion{
		{"start: not taken up", newStage().start(), notDone, ""},
		{"start: to be created", newStage().start().told(), notDone, ""},
		{"start: created", newStage().start().shows("c1", engine.StateCreated).told(), notDone, ""},
		{"start: runs", newStage().start().running(), done, "start-c1"},
		{"start: runs, told before the wish", newStage().running().start(), notDone, ""},
		{"start: read from an old cache", newStage().stop().told().start().record(func(r *v1alpha1.GameRuntime) {
			r.Spec.State = v1alpha1.StateStopped
			r.Generation--
		}), notDone, ""},
		{"start: runs, not ready", newStage().start().probing().running(), done, "start-c1"},
		{"start: runs, paused by hand", newStage().start().shows("c1", engine.StatePaused).told(), notDone, ""},
		{"start: runs from another specification", newStage().shows("c1", engine.StateRunning).patch().start().told(), notDone, ""},
		{"start: runs, with other resources", newStage().shows("c1", engine.StateRunning).start().memory("1Gi").told(), notDone, ""},
		{"start: runs, its tag moved", newStage().start().shows("c1", engine.StateRunning).moved().told(), done, "start-c1"},
		{"start: runs, and so does a second one", newStage().start().shows("c1", engine.StateRunning).twice().told(), done, "start-c1"},
		{"start: the record said so", newStage().running().replay(), v1alpha1.CodeReplayNoOp, "start-c1"},
		{"start: changed since, and runs", newStage().start().running().spec(never), done, "start-c1"},
		{"start: stopped since", newStage().start().running().spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }), v1alpha1.CodeConflict, ""},
		{"start: deleted since", newStage().start().running().record(func(r *v1alpha1.GameRuntime) { r.DeletionTimestamp = &metav1.Time{Time: noon} }), v1alpha1.CodeConflict, ""},
		{"start: declared anew since", newStage().start().running().record(func(r *v1alpha1.GameRuntime) { r.UID = "u-2" }), v1alpha1.CodeNotFound, ""},
		{"start: paused", newStage().record(paused).start().told(), v1alpha1.CodeConflict, ""},
		{"start: only observed", newStage().start().spec(func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftObserve }).told(), v1alpha1.CodeConflict, ""},
		{"start: paused, and runs", newStage().record(paused).start().running(), done, "start-c1"},
		{"start: the pull failed", newStage().start().failed(pull, engine.PullFailed), v1alpha1.CodeImagePullFailed, ""},
		{"start: the pull goes on again", newStage().start().failed(pull, engine.PullFailed).pulling().told(), v1alpha1.CodeImagePullFailed, ""},
		{"start: no image", newStage().start().failed(create, engine.NotFound), v1alpha1.CodeImagePullFailed, ""},
		{"start: refused by the engine", newStage().start().failed(create, engine.Invalid), v1alpha1.CodeStartConfigInvalid, "op-9"},
		{"start: its name is in use", newStage().start().failed(create, engine.NameConflict), v1alpha1.CodeConflict, "op-9"},
		{"start: its port is in use", newStage().start().shows("c1", engine.StateCreated).failed(start, engine.PortConflict), v1alpha1.CodeContainerStartFailed, "op-9"},
		{"start: no such program", newStage().start().shows("c1", engine.StateCreated).failed(start, engine.ProgramFailed), v1alpha1.CodeContainerStartFailed, "op-9"},
		{"start: tried again", newStage().start().shows("c1", engine.StateCreated).failed(start, engine.StartFailed).later(time.Hour).told(), v1alpha1.CodeContainerStartFailed, "op-9"},
		{"start: not mounted", newStage().start().failed(create, engine.MountFailed), v1alpha1.CodeContainerStartFailed, "op-9"},
		{"start: no state directory", newStage().start().failedFor(create, plan.ErrState), v1alpha1.CodeContainerStartFailed, ""},
		{"start: its state directory is missing", newStage().start().failedFor(create, plan.ErrStateMissing), v1alpha1.CodeContainerStartFailed, ""},
		{"start: its state is elsewhere", newStage().start().adopted().told(), v1alpha1.CodeContainerStartFailed, ""},
		{"start: hangs", newStage().start().shows("c1", engine.StateCreated).failed(start, engine.Timeout).hangs().told(), v1alpha1.CodeDockerUnavailable, ""},
		{"start: an odd pull", newStage().start().did(create).failed(pull, engine.Failed), v1alpha1.CodeInternalError, ""},
		{"start: timed out", newStage().start().failed(create, engine.Timeout), v1alpha1.CodeTimeout, "op-9"},
		{"start: anything else", newStage().start().failed(create, engine.Failed), v1alpha1.CodeInternalError, "op-9"},
		{"start: the engine is away", newStage().start().engineAway(), notDone, ""},
		{"start: the engine went away", newStage().start().failed(create, engine.Unreachable), notDone, ""},
		{"start: the engine is away, it ran", newStage().running().start().engineAway(), notDone, ""},
		{"start: the engine was not listed", newStage().start().unseen().told(), notDone, ""},
		{"start: frozen", newStage().start().running().gone().frozen().start().told(), notDone, ""},
		{"start: crashed", newStage().start().running().later(time.Second).ended(1).told(), v1alpha1.CodeContainerStartFailed, ""},
		{"start: crashed, for good", newStage().spec(never).start().running().later(time.Second).ended(1).told(), v1alpha1.CodeContainerStartFailed, ""},
		{"start: completed", newStage().spec(onFailure).start().running().later(time.Second).ended(0).told(), done, ""},
	}
}

func stopped() []conclusion {
	return []conclusion{
		{"stop: not taken up", newStage().running().stop(), notDone, ""},
		{"stop: runs", newStage().running().stop().told(), notDone, ""},
		{"stop: stopped", newStage().running().stop().stopped().told(), done, "stop-c1"},
		{"stop: removed", newStage().running().stop().stopped().told().gone().told(), done, "stop-c1"},
		{"stop: never ran", newStage().stop().told(), done, ""},
		{"stop: not looked at", newStage().running().stopped().told().stop().unseen().told(), notDone, ""},
		{"stop: rolled back before", newStage().running().patch().updated("c2", engine.StateCreated).failed(start, engine.ProgramFailed).rolledBack().stop().told(), notDone, ""},
		{"stop: failed", newStage().running().stop().failed(plan.StopContainer{ID: "c1"}, engine.Failed), v1alpha1.CodeInternalError, "op-9"},
		{"stop: timed out", newStage().running().stop().failed(plan.StopContainer{ID: "c1"}, engine.Timeout), v1alpha1.CodeTimeout, "op-9"},
		{"stop: the engine is away", newStage().running().stopped().told().stop().engineAway(), notDone, ""},
		{"stop: paused", newStage().running().record(paused).stop().told(), v1alpha1.CodeConflict, ""},
		{"stop: started since", newStage().running().stop().stopped().told().spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning }), v1alpha1.CodeConflict, ""},
	}
}

func restarted() []conclusion {
	return []conclusion{
		{"restart: the old one runs", newStage().running().restart().told(), notDone, ""},
		{"restart: stopped on the way", newStage().running().restart().stopped().told(), notDone, ""},
		{"restart: stopped since", newStage().running().restart().spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }), v1alpha1.CodeConflict, ""},
		{"restart: the new one runs", newStage().running().restart().updated("c2", engine.StateRunning).told(), done, "start-c2"},
		{"restart: the new one crashed", newStage().running().restart().updated("c2", engine.StateExited, func(c *engine.Container) {
			c.Exit = &engine.Exit{Code: 1, FinishedAt: noon.Add(time.Second)}
		}).later(time.Second).told(), v1alpha1.CodeContainerStartFailed, ""},
	}
}

func patched() []conclusion {
	return []conclusion{
		{"patch: the old one runs", newStage().running().patch().told(), notDone, ""},
		{"patch: the pull failed", newStage().running().patch().failed(pull, engine.PullFailed), v1alpha1.CodeImagePullFailed, ""},
		{"patch: the new one runs", newStage().running().patch().updated("c2", engine.StateRunning).told(), notDone, ""},
		{"patch: proved", newStage().running().patch().updated("c2", engine.StateRunning).told().later(time.Minute).told(), done, "start-c2"},
		{"patch: no such program", newStage().running().patch().updated("c2", engine.StateCreated).failed(start, engine.ProgramFailed), v1alpha1.CodeContainerStartFailed, ""},
		{"patch: rolled back", newStage().running().patch().updated("c2", engine.StateCreated).failed(start, engine.ProgramFailed).rolledBack(), v1alpha1.CodeContainerStartFailed, ""},
		{"patch: another image since", newStage().running().patch().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Image = image }), v1alpha1.CodeConflict, ""},
		{"patch: not to run", newStage().spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }).patch().told(), done, ""},
	}
}

func cleanedUp() []conclusion {
	return []conclusion{
		{"clean up: not taken up", newStage().running().cleanUp(), notDone, ""},
		{"clean up: runs", newStage().running().cleanUp().told(), notDone, ""},
		{"clean up: nothing left", newStage().running().cleanUp().gone().told(), notDone, ""},
		{"clean up: declared anew", newStage().running().cleanUp().record(func(r *v1alpha1.GameRuntime) { r.UID = "u-2" }), done, ""},
		{"clean up: failed", newStage().running().cleanUp().failed(plan.RemoveContainer{ID: "c1"}, engine.Failed), v1alpha1.CodeInternalError, "op-9"},
		{"clean up: failed before the wish", newStage().start().failed(create, engine.Invalid).cleanUp().told(), notDone, ""},
		{"clean up: the engine is away", newStage().running().cleanUp().engineAway(), notDone, ""},
	}
}

func TestConclude(t *testing.T) {
	for _, c := range slices.Concat(started(), stopped(), restarted(), patched(), cleanedUp()) {
		t.Run(c.name, func(t *testing.T) {
			result, isDone := Conclude(c.stage.Record, c.stage.wish)
			require.NotContains(t, result.Message, "/data/games")
			switch c.want {
			case notDone:
				require.False(t, isDone, "%+v", result)
				require.Zero(t, result)
				return
			case done:
				require.Equal(t, Result{Outcome: Success, OperationID: c.operation}, result)
			case v1alpha1.CodeReplayNoOp:
				require.Equal(t, Success, result.Outcome)
				fallthrough
			default:
				require.Equal(t, c.want, result.ErrorCode, "%+v", result)
				require.Equal(t, v1alpha1.ClassOf(c.want) == v1alpha1.ClassSuccess, result.Outcome == Success)
				require.NotEmpty(t, result.Message)
				require.Equal(t, c.operation, result.OperationID)
			}
			require.True(t, isDone)
		})
	}
}

func (s *stage) probing() *stage {
	s.Record.Spec.Probes.Readiness = &v1alpha1.Probe{}
	s.Health = []v1alpha1.ProbeStatus{{Probe: v1alpha1.ProbeReadiness, Verdict: v1alpha1.VerdictUnknown}}
	return s
}

func (s *stage) memory(quantity string) *stage {
	s.Record.Spec.Resources.Memory = resource.MustParse(quantity)
	return s
}

func (s *stage) moved() *stage {
	s.ImageNow = "sha256:2"
	return s
}

// twice has a second container of the same game.
func (s *stage) twice() *stage { return s.and(s.made("c2", engine.StateRunning)) }

// rolledBack is the end of an update that failed.
func (s *stage) rolledBack() *stage {
	old := s.View.Containers[0]
	old.Name, old.State, old.Exit = s.View.Containers[1].Name, engine.StateRunning, nil
	s.View.Containers = []engine.Container{old}
	return s.told()
}

// adopted was made by somebody else, with its state in another place.
func (s *stage) adopted() *stage {
	s.Record.Annotations = map[string]string{v1alpha1.AnnotationAdopted: "c1"}
	return s.shows("c1", engine.StateRunning, func(c *engine.Container) {
		theirs := s.Settings
		theirs.StateRoot = "/elsewhere"
		c.SpecHash = plan.SpecHash(s.Record, theirs)
	})
}

func (s *stage) hangs() *stage {
	s.View.Containers[0].Unresponsive = true
	return s.later(time.Hour)
}

func (s *stage) unseen() *stage {
	s.View.Seen = false
	return s
}

func (s *stage) frozen() *stage {
	s.Brake = &plan.Brake{Since: noon, Message: "12 of 20 containers vanished together"}
	return s
}

// pulling has the pull in hand for which the record waited.
func (s *stage) pulling() *stage {
	s.Image.Present = false
	s.InHand = &plan.Work{Action: plan.PullImage{Ref: s.Record.Spec.Image}, Since: s.Now, Deadline: s.Now.Add(time.Minute)}
	return s
}

func TestConcludeOfARecordThatIsGone(t *testing.T) {
	wish := newStage().start().wish
	result, done := Conclude(nil, wish)
	require.True(t, done)
	require.Equal(t, v1alpha1.CodeNotFound, result.ErrorCode)

	wish = newStage().cleanUp().wish
	result, done = Conclude(nil, wish)
	require.True(t, done)
	require.Equal(t, Result{Outcome: Success}, result)

	result, done = Conclude(nil, answer(VerbCleanUp, "chess", nil, true).Accepted)
	require.True(t, done)
	require.Equal(t, v1alpha1.CodeReplayNoOp, result.ErrorCode)
	require.Equal(t, Success, result.Outcome)
}

func TestOverdue(t *testing.T) {
	for _, c := range []struct {
		name       string
		stage      *stage
		code, says string
	}{
		{"not taken up", newStage().start(), v1alpha1.CodeTimeout, "not taken up yet"},
		{"under way", newStage().start().pulling().told(), v1alpha1.CodeTimeout, "still goes on: pull"},
		{"to be proved", newStage().running().patch().updated("c2", engine.StateRunning).told(), v1alpha1.CodeTimeout, "has to prove itself"},
		{"the engine is away", newStage().start().engineAway(), v1alpha1.CodeDockerUnavailable, "connection refused"},
		{"the engine was not listed", newStage().start().unseen().told(), v1alpha1.CodeDockerUnavailable, "not listed yet"},
		{"frozen", newStage().start().running().gone().frozen().start().told(), v1alpha1.CodeDockerUnavailable, "12 of 20"},
		{"hangs", newStage().start().shows("c1", engine.StateCreated).hangs().told(), v1alpha1.CodeDockerUnavailable, "does not answer for container"},
		{"nothing is left but the record", newStage().running().cleanUp().gone().told(), v1alpha1.CodeTimeout, "still goes on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, done := Conclude(c.stage.Record, c.stage.wish)
			require.False(t, done)
			result := Overdue(c.stage.Record, c.stage.wish)
			require.Equal(t, Failure, result.Outcome)
			require.Equal(t, c.code, result.ErrorCode)
			require.Contains(t, result.Message, c.says)
		})
	}
}
