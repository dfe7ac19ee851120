package plan

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// scene is a record and what the engine shows of it, told in a few words.
type scene struct {
	in Input
}

func newScene() *scene {
	record := &v1alpha1.GameRuntime{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "chess", UID: "u-1", Generation: 1},
		Spec: v1alpha1.GameRuntimeSpec{
			State: v1alpha1.StateRunning, Image: "galaxy/chess:1.0.0", ImagePullPolicy: v1alpha1.PullIfNotPresent,
			RestartPolicy: v1alpha1.RestartAlways, StopSignal: "SIGTERM", StopGracePeriodSeconds: ptr.To[int32](30),
			Ports:     []v1alpha1.Port{{Name: "http", ContainerPort: 8080, Protocol: "TCP", HostPort: ptr.To[int32](0)}},
			Resources: v1alpha1.Resources{CPU: resource.MustParse("1"), Memory: resource.MustParse("512Mi"), Pids: 512},
			Storage:   v1alpha1.Storage{MountPath: "/var/lib/galaxy-game", ReclaimPolicy: v1alpha1.ReclaimRetain},
			Backoff: v1alpha1.Backoff{
				Initial: metav1.Duration{Duration: time.Second}, Max: metav1.Duration{Duration: 5 * time.Minute},
				ResetAfter: metav1.Duration{Duration: 10 * time.Minute},
			},
		},
	}
	return &scene{Input{
		Record: record, View: engine.View{Seen: true}, Now: now, Image: Image{Present: true},
		Fleet:    engine.Fleet{Reachable: true, Since: now.Add(-time.Hour), Info: engine.Info{ID: "e-1", Name: "host"}},
		Settings: Settings{Installation: "0123456789", Network: "galaxy.01234567", StateRoot: "/data/games"},
	}}
}

func (s *scene) record(change func(*v1alpha1.GameRuntime)) *scene {
	change(s.in.Record)
	return s
}

func (s *scene) spec(change func(*v1alpha1.GameRuntimeSpec)) *scene {
	change(&s.in.Record.Spec)
	s.in.Record.Generation++
	return s
}

// container shows one made from the record as it is now.
func (s *scene) container(id string, state engine.State, changes ...func(*engine.Container)) *scene {
	c := engine.Container{
		ID: id, Name: "chess.default.01234567", Installation: "0123456789", Game: GameOf(s.in.Record),
		UID: string(s.in.Record.UID), SpecHash: SpecHash(s.in.Record, s.in.Settings), State: state, Inspected: true,
		Image: s.in.Record.Spec.Image, ImageID: "sha256:1", CreatedAt: now.Add(-time.Hour), Resources: resources(s.in.Record),
	}
	if state != engine.StateCreated {
		c.StartedAt = now.Add(-time.Minute)
	}
	for _, change := range changes {
		change(&c)
	}
	s.in.View.Containers = append(s.in.View.Containers, c)
	return s
}

func exited(code int32, ago time.Duration) func(*engine.Container) {
	return func(c *engine.Container) {
		c.Exit = &engine.Exit{Code: code, FinishedAt: now.Add(-ago)}
	}
}

// reported lets the status catch up with what is shown, as a pass would.
func (s *scene) reported() *scene {
	s.in.Record.Status = Status(s.in, For(s.in))
	s.in.Last = nil
	return s
}

func (s *scene) gone() *scene {
	s.in.View.Containers = nil
	return s
}

func (s *scene) later(d time.Duration) *scene {
	s.in.Now = s.in.Now.Add(d)
	return s
}

func (s *scene) did(action Action, err error) *scene {
	s.in.Last = &Outcome{Action: action, Err: err}
	return s
}

func (s *scene) verdict(probe, verdict string) *scene {
	s.in.Health = append(s.in.Health, v1alpha1.ProbeStatus{Probe: probe, Verdict: verdict, Message: "status 500"})
	return s
}

// verbs is a plan in a few words.
func verbs(p Plan) string {
	var all []string
	for _, a := range p.Actions {
		all = append(all, strings.TrimPrefix(reflect.TypeOf(a).Name(), "plan."))
	}
	return strings.Join(all, " ")
}

func TestPlan(t *testing.T) {
	stopped := func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }
	deleted := func(r *v1alpha1.GameRuntime) { r.DeletionTimestamp = &metav1.Time{Time: now}; r.Generation++ }
	policy := func(p v1alpha1.RestartPolicy) func(*v1alpha1.GameRuntimeSpec) {
		return func(s *v1alpha1.GameRuntimeSpec) { s.RestartPolicy = p }
	}
	for _, c := range []struct {
		name  string
		scene *scene
		want  string
	}{
		{"nothing there", newScene(), "CreateContainer StartContainer"},
		{"image missing", absentImage(newScene()), "PullImage CreateContainer StartContainer"},
		{"image missing, never pulled", absentImage(newScene().spec(func(s *v1alpha1.GameRuntimeSpec) { s.ImagePullPolicy = v1alpha1.PullNever })), "CreateContainer StartContainer"},
		{"image there, always pulled", newScene().spec(func(s *v1alpha1.GameRuntimeSpec) { s.ImagePullPolicy = v1alpha1.PullAlways }), "PullImage CreateContainer StartContainer"},
		{"created", newScene().container("c1", engine.StateCreated), "StartContainer"},
		{"running", newScene().container("c1", engine.StateRunning), ""},
		{"running, only listed", newScene().container("c1", engine.StateRunning, func(c *engine.Container) { c.Inspected, c.Resources = false, engine.Resources{} }), ""},
		{"paused by hand", newScene().container("c1", engine.StatePaused), "StopContainer StartContainer"},
		{"dead", newScene().container("c1", engine.StateDead), "RemoveContainer CreateContainer StartContainer"},
		{"being removed", newScene().container("c1", engine.StateRemoving), "Wait CreateContainer StartContainer"},
		{"image changed", newScene().container("c1", engine.StateRunning).spec(anotherImage), replaced},
		{"image changed, and not here", absentImage(newScene().container("c1", engine.StateRunning).spec(anotherImage)), "PullImage " + replaced},
		{"made from a namesake", newScene().container("c1", engine.StateRunning, func(c *engine.Container) { c.UID = "other" }), "StopContainer RemoveContainer CreateContainer StartContainer"},
		{"memory changed", newScene().container("c1", engine.StateRunning).spec(func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("1Gi") }), "UpdateResources"},
		{"two running", newScene().container("c1", engine.StateRunning).container("c2", engine.StateRunning), "StopContainer RemoveContainer"},
		{"an old one beside the running one", newScene().container("c1", engine.StateExited, exited(0, time.Hour)).container("c2", engine.StateRunning), "RemoveContainer"},
		{"liveness failed", newScene().container("c1", engine.StateRunning).verdict(v1alpha1.ProbeLiveness, v1alpha1.VerdictFailing), "StopContainer StartContainer"},
		{"readiness failed", newScene().container("c1", engine.StateRunning).verdict(v1alpha1.ProbeReadiness, v1alpha1.VerdictFailing), ""},
		{"wanted stopped, running", newScene().container("c1", engine.StateRunning).spec(stopped), "StopContainer"},
		{"wanted stopped, stopped", newScene().spec(stopped).container("c1", engine.StateExited, exited(0, time.Minute)), ""},
		{"wanted stopped, nothing there", newScene().spec(stopped), ""},
		{"crashed just now", newScene().container("c1", engine.StateExited, exited(1, 0)), "Wait StartContainer"},
		{"crashed a while ago", newScene().container("c1", engine.StateExited, exited(1, 2*time.Second)), "StartContainer"},
		{"ended, but not yet inspected", newScene().container("c1", engine.StateExited, func(c *engine.Container) { c.Inspected = false }), "Wait StartContainer"},
		{"completed, restart on failure", newScene().spec(policy(v1alpha1.RestartOnFailure)).container("c1", engine.StateExited, exited(0, time.Minute)), ""},
		{"failed, restart on failure", newScene().spec(policy(v1alpha1.RestartOnFailure)).container("c1", engine.StateExited, exited(2, time.Minute)), "StartContainer"},
		{"failed, restart never", newScene().spec(policy(v1alpha1.RestartNever)).container("c1", engine.StateExited, exited(2, time.Minute)), ""},
		{"deleted, running", newScene().container("c1", engine.StateRunning).record(deleted), "StopContainer RemoveContainer"},
		{"an old one, being removed, beside the running one", newScene().container("c1", engine.StateRemoving).container("c2", engine.StateRunning), ""},
		{"deleted, being removed", newScene().container("c1", engine.StateRemoving).record(deleted), "Wait"},
		{"deleted, state kept", keepsState(newScene().record(deleted)), ""},
		{"deleted, state given up", keepsState(newScene().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Storage.ReclaimPolicy = v1alpha1.ReclaimDelete }).record(deleted)), "RemoveState"},
		{"paused, changed", newScene().container("c1", engine.StateRunning).spec(anotherImage).record(paused), "Wait " + replaced},
		{"paused, exited", newScene().container("c1", engine.StateExited, exited(1, time.Hour)).record(paused), "Wait StartContainer"},
		{"paused, in sync", newScene().container("c1", engine.StateRunning).record(paused), ""},
		{"paused, deleted", newScene().container("c1", engine.StateRunning).record(paused).record(deleted), "StopContainer RemoveContainer"},
		{"observed, nothing there", newScene().spec(observed), "Wait CreateContainer StartContainer"},
		{"observed, unhealthy", newScene().spec(observed).container("c1", engine.StateRunning).verdict(v1alpha1.ProbeLiveness, v1alpha1.VerdictFailing), "Wait StopContainer StartContainer"},
		{"observed, memory changed", newScene().container("c1", engine.StateRunning).spec(observed).spec(func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("1Gi") }), "Wait UpdateResources"},
		{"observed by the namespace", observedBy(newScene(), v1alpha1.DriftObserve, v1alpha1.DriftEnforce), "Wait CreateContainer StartContainer"},
		{"observed by the manager", observedBy(newScene(), "", v1alpha1.DriftObserve), "Wait CreateContainer StartContainer"},
		{"engine away", away(newScene().container("c1", engine.StateExited, exited(1, time.Hour))), "Wait"},
		{"engine not seen yet", unseen(newScene()), "Wait"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, verbs(For(c.scene.in)))
			checkStatus(t, c.scene.in)
		})
	}
}

func paused(r *v1alpha1.GameRuntime) {
	r.Annotations = map[string]string{v1alpha1.AnnotationPaused: "true"}
}
func observed(s *v1alpha1.GameRuntimeSpec)     { s.DriftPolicy = v1alpha1.DriftObserve }
func anotherImage(s *v1alpha1.GameRuntimeSpec) { s.Image = "galaxy/chess:1.0.1" }

func observedBy(s *scene, namespace, manager v1alpha1.DriftPolicy) *scene {
	s.in.NamespaceDriftPolicy, s.in.Settings.DriftPolicy = namespace, manager
	return s
}

func absentImage(s *scene) *scene { s.in.Image.Present = false; return s }
func keepsState(s *scene) *scene  { s.in.StateExists = true; return s }
func unseen(s *scene) *scene      { s.in.View.Seen = false; return s }
func away(s *scene) *scene {
	s.in.Fleet.Reachable, s.in.Fleet.Reason = false, "connection refused"
	return s
}

// checkStatus holds the rules that every status obeys.
func checkStatus(t rapid.TB, in Input) {
	t.Helper()
	p := For(in)
	status := Status(in, p)
	condition := func(kind string) metav1.Condition {
		c := findCondition(status.Conditions, kind)
		require.NotNil(t, c, "1. every condition is always there: %s", kind)
		require.Equal(t, in.Record.Generation, c.ObservedGeneration, "2. conditions say which generation they tell of")
		require.NotEmpty(t, c.Reason, "3. conditions have a reason")
		return *c
	}
	ready, progressing := condition(v1alpha1.ConditionReady), condition(v1alpha1.ConditionProgressing)
	healthy, inSync := condition(v1alpha1.ConditionHealthy), condition(v1alpha1.ConditionInSync)
	reachable := condition(v1alpha1.ConditionEngineReachable)
	if ready.Status == metav1.ConditionTrue {
		unhealthy := healthy.Status == metav1.ConditionFalse && healthy.Reason != v1alpha1.ReasonHealthcheckFailed
		require.False(t, unhealthy, "4. what is ready is not unhealthy, but for what only the image says")
		require.Equal(t, metav1.ConditionTrue, reachable.Status, "5. what is ready was seen")
		require.True(t, status.Pending == nil || p.runsOn(in), "6. what is ready waits for nothing, unless it runs on meanwhile")
		require.Equal(t, v1alpha1.PhaseRunning, status.Phase, "7. what is ready runs")
	}
	require.Equal(t, p.InSync(), inSync.Status == metav1.ConditionTrue, "8. InSync is the empty plan")
	require.Equal(t, status.Pending != nil, progressing.Status == metav1.ConditionTrue, "9. what progresses names what it waits for")
	if !p.InSync() {
		require.NotNil(t, status.Pending, "10. what is not in sync names what it waits for")
		require.NotEmpty(t, status.Pending.Reason, "11. with a reason")
		require.NotEmpty(t, status.Pending.Message, "12. and in words")
	}
	require.NotEmpty(t, status.Phase, "13. there is always a phase")
	require.NotContains(t, fmt.Sprint(status), in.Settings.StateRoot, "14. no path of the host is told")

	if status.Rollback != nil && !refused(in) || retryAsked(in) {
		return // what a report writes down is acted on from the next look on
	}
	again := in
	again.Record = in.Record.DeepCopy()
	again.Record.Status, again.Last = status, nil
	require.Equal(t, status, Status(again, For(again)), "15. a status is stable: a second look changes nothing")
	_, ended := Ended(again)
	require.False(t, ended, "16. an end that was told is no news")
}

func TestCrashLoop(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported()
	for i, delay := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		s.in.View.Containers[0].State = engine.StateExited
		s.in.View.Containers[0].Exit = &engine.Exit{Code: 1, FinishedAt: s.in.Now}
		wait, ok := For(s.in).Next().(Wait)
		require.True(t, ok, "a crash is followed by a back-off")
		require.Equal(t, delay, wait.Until.Sub(s.in.Now))
		s.reported()
		require.Equal(t, v1alpha1.PhaseFailed, s.in.Record.Status.Phase)
		require.Equal(t, v1alpha1.TerminationCrashed, s.in.Record.Status.LastTermination.Reason)
		require.Equal(t, int32(i), s.in.Record.Status.Restarts, "counted when it runs again")

		s.later(delay)
		require.IsType(t, StartContainer{}, For(s.in).Next())
		s.in.View.Containers[0].State, s.in.View.Containers[0].Exit = engine.StateRunning, nil
		s.in.View.Containers[0].StartedAt = s.in.Now
		s.reported().reported()
		require.Equal(t, int32(i+1), s.in.Record.Status.Restarts)
		s.later(time.Second)
	}

	s.later(10 * time.Minute)
	s.in.View.Containers[0].State = engine.StateExited
	s.in.View.Containers[0].Exit = &engine.Exit{Code: 1, FinishedAt: s.in.Now}
	require.Equal(t, time.Second, For(s.in).Next().(Wait).Until.Sub(s.in.Now), "a healthy run starts the back-off again")
}

func TestSpecChangeEndsBackOff(t *testing.T) {
	s := newScene().container("c1", engine.StateExited, exited(1, 0)).reported()
	require.IsType(t, Wait{}, For(s.in).Next())
	s.spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.RestartPolicy = v1alpha1.RestartOnFailure })
	require.IsType(t, StartContainer{}, For(s.in).Next())
}

func TestFailureBackOff(t *testing.T) {
	fail := &engine.Error{Op: "pull image", Kind: engine.PullFailed, Err: errors.New("manifest unknown in /data/games")}
	s := absentImage(newScene())
	var last time.Duration
	for try := int32(1); try <= 3; try++ {
		require.IsType(t, PullImage{}, For(s.in).Next())
		s.did(For(s.in).Next(), fail)
		checkStatus(t, s.in)
		s.reported()
		pending := s.in.Record.Status.Pending
		require.Equal(t, v1alpha1.ReasonImagePullFailed, pending.Reason)
		require.Equal(t, try, pending.Failures)
		delay := pending.NextTry.Sub(s.in.Now)
		require.Greater(t, delay, last)
		require.Equal(t, v1alpha1.PhaseFailed, s.in.Record.Status.Phase)
		last = delay
		s.later(delay)
	}
	s.did(PullImage{Ref: s.in.Record.Spec.Image}, nil)
	s.in.Image.Present = true
	s.reported()
	require.Zero(t, s.in.Record.Status.Pending.Failures, "a success forgets the failures")
}

func TestWorkInHandKeepsCountOfFailures(t *testing.T) {
	fail := &engine.Error{Op: "pull image", Kind: engine.PullFailed, Err: errors.New("no route")}
	s := absentImage(newScene()).did(PullImage{Ref: "galaxy/chess:1.0.0"}, fail).reported().later(time.Minute)
	s.in.InHand = &Work{Action: PullImage{Ref: "galaxy/chess:1.0.0"}, Since: s.in.Now, Deadline: s.in.Now.Add(time.Minute)}
	s.reported()
	require.Equal(t, v1alpha1.PhasePulling, s.in.Record.Status.Phase)
	require.Equal(t, v1alpha1.ReasonPulling, s.in.Record.Status.Pending.Reason)
	s.in.InHand = nil
	s.did(PullImage{Ref: "galaxy/chess:1.0.0"}, fail).reported()
	require.Equal(t, int32(2), s.in.Record.Status.Pending.Failures)
}

func TestQueuedPullSaysSo(t *testing.T) {
	s := absentImage(newScene())
	s.in.InHand = &Work{Action: PullImage{Ref: "galaxy/chess:1.0.0"}, Queued: true}
	s.reported()
	require.Equal(t, v1alpha1.ReasonPulling, s.in.Record.Status.Pending.Reason)
	require.Equal(t, "wait for a turn to pull image galaxy/chess:1.0.0", s.in.Record.Status.Pending.Message)
}

func TestRepoDigestIsRecordedAndKept(t *testing.T) {
	named := func(digest string) func(*engine.Container) {
		return func(c *engine.Container) { c.RepoDigest = digest }
	}
	s := newScene().container("c1", engine.StateRunning, named("galaxy/chess@sha256:1")).reported()
	require.Equal(t, "galaxy/chess@sha256:1", s.in.Record.Status.Container.RepoDigest)
	s.gone().container("c1", engine.StateRunning).reported()
	require.Equal(t, "galaxy/chess@sha256:1", s.in.Record.Status.Container.RepoDigest, "of the same container it cannot change")
	s.gone().container("c2", engine.StateRunning).reported()
	require.Empty(t, s.in.Record.Status.Container.RepoDigest)
}

func TestPullOfAnotherImageDoesNotHoldBack(t *testing.T) {
	s := absentImage(newScene())
	s.in.InHand = &Work{Action: PullImage{Ref: "galaxy/typo:1.0.0"}}
	require.Equal(t, PullImage{Ref: "galaxy/chess:1.0.0"}, For(s.in).Next())
}

func TestVanishedContainer(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported().later(time.Minute).gone().reported()
	end := s.in.Record.Status.LastTermination
	require.Equal(t, v1alpha1.TerminationUnknown, end.Reason)
	require.Equal(t, v1alpha1.ContainerRemoved, s.in.Record.Status.Container.State)
	require.Equal(t, "Wait CreateContainer StartContainer", verbs(For(s.in)))
	s.later(time.Second)
	require.Equal(t, "CreateContainer StartContainer", verbs(For(s.in)))
	s.container("c2", engine.StateCreated).reported()
	s.gone().container("c2", engine.StateRunning, func(c *engine.Container) { c.StartedAt = s.in.Now }).reported()
	require.Equal(t, int32(1), s.in.Record.Status.Restarts)
}

// TestVanishedWhileBeingRemoved: between its death and its disappearance a
// container may be seen as being removed, without an exit.
func TestVanishedWhileBeingRemoved(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported().later(time.Second)
	s.in.View.Containers[0].State = engine.StateRemoving
	s.reported().gone().reported()
	require.Equal(t, v1alpha1.TerminationUnknown, s.in.Record.Status.LastTermination.Reason)
}

func TestOurOwnStopIsNoRestart(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported()
	s.spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.Image = "galaxy/chess:1.0.1" })
	stop := For(s.in).Next().(StopContainer)
	s.meant(stop).later(time.Second)
	s.in.View.Containers[0].State, s.in.View.Containers[0].Exit = engine.StateExited, &engine.Exit{Code: 137, FinishedAt: s.in.Now}
	s.reported()
	require.Equal(t, v1alpha1.TerminationStoppedByUs, s.in.Record.Status.LastTermination.Reason)
	require.Equal(t, "RenameContainer CreateContainer StartContainer RemoveContainer", verbs(For(s.in)))
	s.gone().did(RemoveContainer{ID: "c1"}, nil).reported()
	s.container("c2", engine.StateRunning, func(c *engine.Container) { c.StartedAt = s.in.Now.Add(time.Second) }).reported()
	require.Zero(t, s.in.Record.Status.Restarts)
}

func TestPreStopIsForWhatCanAnswer(t *testing.T) {
	preStop := func(spec *v1alpha1.GameRuntimeSpec) {
		spec.State = v1alpha1.StateStopped
		spec.Lifecycle.PreStop = &v1alpha1.LifecycleHandler{Exec: &v1alpha1.ExecAction{Command: []string{"/save"}}}
	}
	atOnce := func(spec *v1alpha1.GameRuntimeSpec) { spec.StopGracePeriodSeconds = ptr.To[int32](0) }
	unresponsive := func(c *engine.Container) { c.Unresponsive = true }
	for name, c := range map[string]struct {
		scene *scene
		want  string
	}{
		"running":      {newScene().spec(preStop).container("c1", engine.StateRunning), "run preStop and stop container c1"},
		"paused":       {newScene().spec(preStop).container("c1", engine.StatePaused), "stop container c1"},
		"at once":      {newScene().spec(preStop).spec(atOnce).container("c1", engine.StateRunning), "stop container c1"},
		"unresponsive": {newScene().spec(preStop).container("c1", engine.StateRunning, unresponsive), "stop container c1"},
		"none":         {newScene().spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }).container("c1", engine.StateRunning), "stop container c1"},
	} {
		actions := For(c.scene.in).Actions
		require.Equal(t, c.want, actions[len(actions)-1].String(), name)
	}
}

func TestPausedGameTellsWhatIsNotDone(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported().record(paused).spec(anotherImage).reported()
	status := s.in.Record.Status
	require.Equal(t, v1alpha1.PhaseRunning, status.Phase, "it is left to run")
	require.Equal(t, v1alpha1.ReasonPaused, status.Pending.Reason)
	require.Equal(t, "paused by annotation, not done: stop container c1", status.Pending.Message)
	inSync := findCondition(status.Conditions, v1alpha1.ConditionInSync)
	require.Equal(t, "stop container c1", inSync.Message)

	s.gone().later(time.Minute).reported()
	require.Equal(t, v1alpha1.PhasePending, s.in.Record.Status.Phase, "it is not there any more, and not brought back")
	delete(s.in.Record.Annotations, v1alpha1.AnnotationPaused)
	s.later(time.Minute)
	require.Equal(t, "CreateContainer StartContainer", verbs(For(s.in)))
}

func TestStartThatWasPausedNeedsNoRestartPolicy(t *testing.T) {
	s := newScene().spec(func(spec *v1alpha1.GameRuntimeSpec) {
		spec.State, spec.RestartPolicy = v1alpha1.StateStopped, v1alpha1.RestartNever
	}).container("c1", engine.StateExited, exited(1, time.Minute)).reported()
	s.spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.State = v1alpha1.StateRunning })
	s.record(func(r *v1alpha1.GameRuntime) {
		r.Annotations = map[string]string{v1alpha1.AnnotationPaused: "true"}
	}).reported()
	require.Equal(t, "Wait StartContainer", verbs(For(s.in)))
	s.record(func(r *v1alpha1.GameRuntime) { r.Annotations = nil })
	require.Equal(t, "StartContainer", verbs(For(s.in)))
}

func TestEachRestartedAtRestartsOnce(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning)
	for i := range 2 {
		s.spec(func(spec *v1alpha1.GameRuntimeSpec) {
			spec.RestartedAt = &metav1.Time{Time: now.Add(time.Duration(i) * time.Second)}
		})
		require.Equal(t, replaced, verbs(For(s.in)))
		s.gone().container("c2", engine.StateRunning)
		require.Empty(t, verbs(For(s.in)))
	}
}

func TestStartAfterStoppedNeedsNoRestartPolicy(t *testing.T) {
	s := newScene().spec(func(spec *v1alpha1.GameRuntimeSpec) {
		spec.State, spec.RestartPolicy = v1alpha1.StateStopped, v1alpha1.RestartNever
	}).container("c1", engine.StateExited, exited(0, time.Minute)).reported()
	require.Equal(t, v1alpha1.PhaseStopped, s.in.Record.Status.Phase)
	s.spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.State = v1alpha1.StateRunning })
	require.Equal(t, "StartContainer", verbs(For(s.in)))
}

func TestUnreachableEngineThrowsNothingAway(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported()
	before := s.in.Record.Status.DeepCopy()
	away(s).reported()
	after := s.in.Record.Status
	require.Equal(t, before.Phase, after.Phase)
	require.Equal(t, before.Container, after.Container)
	require.Equal(t, metav1.ConditionFalse, findCondition(after.Conditions, v1alpha1.ConditionEngineReachable).Status)
	require.Equal(t, metav1.ConditionUnknown, findCondition(after.Conditions, v1alpha1.ConditionReady).Status)
}

func TestTransitions(t *testing.T) {
	states := []v1alpha1.ContainerState{v1alpha1.ContainerRunning, v1alpha1.ContainerStopped, v1alpha1.ContainerRemoved}
	want := map[string]bool{"running→stopped": true, "running→removed": true, "stopped→running": true, "stopped→removed": true}
	for _, from := range states {
		for _, to := range states {
			require.Equal(t, from == to || want[string(from)+"→"+string(to)], legal(from, to), "%s→%s", from, to)
		}
	}
}
