package plan

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

func kept(c *engine.Container) {
	c.Name += ".previous"
	c.SpecHash = "image=before"
	c.StartedAt = now.Add(-time.Hour)
	c.Exit = &engine.Exit{Code: 143, FinishedAt: now.Add(-time.Minute)}
}

// updating shows a game between two containers: the one before, kept, and the
// one that was made from the record, which runs for as long.
func updating(ran time.Duration) *scene {
	return newScene().container("old", engine.StateExited, kept).container("new", engine.StateRunning, func(c *engine.Container) {
		c.StartedAt = now.Add(-ran)
	})
}

func TestUpdate(t *testing.T) {
	keep := func(s *v1alpha1.GameRuntimeSpec) { s.Update.OnUnhealthy = v1alpha1.UnhealthyKeep }
	deleted := func(r *v1alpha1.GameRuntime) { r.DeletionTimestamp = &metav1.Time{Time: now} }
	ready, liveness := v1alpha1.ProbeReadiness, v1alpha1.ProbeLiveness
	for _, c := range []struct {
		name  string
		scene *scene
		want  string
	}{
		{"stopped, to be kept", newScene().container("c1", engine.StateExited, exited(143, time.Minute)).record(stoppedByUs).spec(anotherImage), "RenameContainer CreateContainer StartContainer RemoveContainer"},
		{"crashed, not worth keeping", newScene().container("c1", engine.StateExited, exited(1, time.Hour)).spec(anotherImage), "RemoveContainer CreateContainer StartContainer"},
		{"between rename and create", newScene().container("old", engine.StateExited, kept), "CreateContainer StartContainer RemoveContainer"},
		{"between rename and create, and back", newScene().container("old", engine.StateExited, func(c *engine.Container) { c.Name += ".previous" }), "RenameContainer StartContainer"},
		{"between rename and create, the old one started by hand", newScene().container("old", engine.StateRunning, kept), "StopContainer CreateContainer StartContainer RemoveContainer"},
		{"new one created", newScene().container("old", engine.StateExited, kept).container("new", engine.StateCreated), "StartContainer RemoveContainer"},
		{"new one runs since a moment", updating(time.Second), "Wait RemoveContainer"},
		{"new one runs for long enough", updating(proof), "RemoveContainer"},
		{"new one is ready since a moment", updating(time.Second).verdict(ready, v1alpha1.VerdictSucceeding), "Wait RemoveContainer"},
		{"new one is ready for long enough", updating(proof).verdict(ready, v1alpha1.VerdictSucceeding), "RemoveContainer"},
		{"new one is not ready yet", updating(proof).verdict(ready, v1alpha1.VerdictUnknown), "Wait RemoveContainer"},
		{"new one is not ready in time", updating(proofDeadline).verdict(ready, v1alpha1.VerdictFailing), "Wait StopContainer RemoveContainer RenameContainer StartContainer"},
		{"new one is unhealthy", updating(time.Second).verdict(liveness, v1alpha1.VerdictFailing), "Wait StopContainer RemoveContainer RenameContainer StartContainer"},
		{"new one is unhealthy, to be kept", updating(time.Second).spec(keep).verdict(liveness, v1alpha1.VerdictFailing), "StopContainer StartContainer RemoveContainer"},
		{"both run", updating(time.Minute).container("", engine.StateRunning, kept), "StopContainer RemoveContainer"},
		{"changed once more", updating(time.Minute).spec(anotherImage), "StopContainer RemoveContainer CreateContainer StartContainer"},
		{"wanted stopped", updating(time.Minute).spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }), "StopContainer"},
		{"deleted", updating(time.Minute).record(deleted), "RemoveContainer StopContainer RemoveContainer"},
		{"new one being removed", newScene().container("old", engine.StateExited, kept).container("new", engine.StateRemoving), "Wait CreateContainer StartContainer RemoveContainer"},
		{"renamed by hand", newScene().container("c1", engine.StateRunning, func(c *engine.Container) { c.Name = "mine" }), "RenameContainer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.scene.in.View.Containers = withoutNameless(c.scene.in.View.Containers)
			require.Equal(t, c.want, verbs(For(c.scene.in)))
			checkStatus(t, c.scene.in)
		})
	}
}

// withoutNameless lets a container without an id replace the first.
func withoutNameless(all []engine.Container) []engine.Container {
	if last := len(all) - 1; all[last].ID == "" {
		all[last].ID = all[0].ID
		return all[1:]
	}
	return all
}

func stoppedByUs(r *v1alpha1.GameRuntime) {
	r.Status.LastTermination = &v1alpha1.Termination{
		Reason: v1alpha1.TerminationStoppedByUs, ContainerID: "c1", FinishedAt: microTime(now.Add(-time.Minute)),
	}
}

// TestRollback takes a failed update from its failure to the day on which the
// record changes.
func TestRollback(t *testing.T) {
	crash := func(s *scene) {
		c := &s.in.View.Containers[1]
		c.State, c.Exit = engine.StateExited, &engine.Exit{Code: 1, FinishedAt: s.in.Now}
	}
	for name, fail := range map[string]func(*scene){
		"a crash": crash,
		"out of memory": func(s *scene) {
			crash(s)
			s.in.View.Containers[1].Exit.OOMKilled = true
		},
		"a probe": func(s *scene) { s.verdict(v1alpha1.ProbeStartup, v1alpha1.VerdictFailing) },
		"a start that fails": func(s *scene) {
			s.in.View.Containers[1].State = engine.StateCreated
			s.did(StartContainer{ID: "new"}, &engine.Error{Kind: engine.StartFailed, Err: errors.New("no such program")})
		},
		"a create that is refused": func(s *scene) {
			s.in.View.Containers = s.in.View.Containers[:1]
			s.did(CreateContainer{}, &engine.Error{Kind: engine.Invalid, Err: errors.New("no such user")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := updating(time.Second).reported()
			fail(s)
			require.IsType(t, Wait{}, For(s.in).Next(), "it is written down before anything is done")
			s.reported()
			refusal := s.in.Record.Status.Rollback
			require.NotNil(t, refusal)
			require.NotEmpty(t, refusal.Message)
			require.Equal(t, v1alpha1.ReasonRolledBack, findCondition(s.in.Record.Status.Conditions, v1alpha1.ConditionProgressing).Reason)
			s.in.Health = nil
			steps := verbs(For(s.in))
			require.Contains(t, []string{
				"StopContainer RemoveContainer RenameContainer StartContainer", "RemoveContainer RenameContainer StartContainer", "RenameContainer StartContainer",
			}, steps, "at once, without a back-off")

			old := s.in.View.Containers[0]
			s.gone().container("old", engine.StateRunning, func(c *engine.Container) { *c = old; c.State, c.Exit = engine.StateRunning, nil })
			s.in.View.Containers[0].Name = ContainerName(GameOf(s.in.Record), s.in.Settings.Installation)
			s.later(time.Second).reported().later(time.Hour)
			checkStatus(t, s.in)
			require.Equal(t, "Wait "+replaced, verbs(For(s.in)), "it is not tried again")
			status := s.in.Record.Status
			require.Equal(t, metav1.ConditionTrue, findCondition(status.Conditions, v1alpha1.ConditionReady).Status, "the old one serves")
			require.Equal(t, metav1.ConditionFalse, findCondition(status.Conditions, v1alpha1.ConditionInSync).Status)
			require.Equal(t, v1alpha1.ReasonRolledBack, status.Pending.Reason)
			require.Equal(t, v1alpha1.PhaseRunning, status.Phase)

			retried := *s.in.Record.DeepCopy()
			retried.Annotations = map[string]string{v1alpha1.AnnotationRetry: "now"}
			again := s.in
			again.Record = &retried
			require.Equal(t, replaced, verbs(For(again)), "a person may want it tried again")
			s.spec(anotherImage)
			require.Equal(t, replaced, verbs(For(s.in)), "another record is another try")
			require.Nil(t, Status(s.in, For(s.in)).Rollback)
		})
	}
}

func TestWhatWasBroughtBackIsKeptUp(t *testing.T) {
	s := updating(time.Second).reported()
	s.in.View.Containers[1].State, s.in.View.Containers[1].Exit = engine.StateExited, &engine.Exit{Code: 1, FinishedAt: now}
	s.reported()
	old := s.in.View.Containers[0]
	old.Name = ContainerName(GameOf(s.in.Record), s.in.Settings.Installation)
	old.State, old.Exit = engine.StateExited, &engine.Exit{Code: 1, FinishedAt: now.Add(time.Second)}
	s.in.View.Containers = []engine.Container{old}
	s.later(time.Second)
	require.Equal(t, "Wait StartContainer", verbs(For(s.in)), "its own crash has a back-off")
	s.reported().later(time.Minute)
	require.Equal(t, "StartContainer", verbs(For(s.in)))
}

func TestRetention(t *testing.T) {
	day := &metav1.Duration{Duration: 24 * time.Hour}
	stopped := func(s *v1alpha1.GameRuntimeSpec) { s.State, s.RetainStoppedFor = v1alpha1.StateStopped, day }
	s := newScene().spec(stopped).container("old", engine.StateExited, kept).container("c1", engine.StateExited, exited(0, time.Minute)).reported()
	p := For(s.in)
	require.True(t, p.InSync())
	require.Equal(t, now.Add(24*time.Hour-time.Minute), p.Again, "it is looked at again when its time comes")
	s.later(24 * time.Hour)
	require.Equal(t, "RemoveContainer RemoveContainer", verbs(For(s.in)))
	s.gone().reported()
	require.Equal(t, v1alpha1.PhaseStopped, s.in.Record.Status.Phase)
	s.spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning })
	require.Equal(t, "CreateContainer StartContainer", verbs(For(s.in)))
}

// TestWhatEndedForGoodStaysSo: that its container went is no reason to play a
// game that is over once more.
func TestWhatEndedForGoodStaysSo(t *testing.T) {
	s := newScene().spec(func(s *v1alpha1.GameRuntimeSpec) {
		s.RestartPolicy, s.RetainStoppedFor = v1alpha1.RestartNever, &metav1.Duration{Duration: time.Hour}
	}).container("c1", engine.StateExited, exited(0, time.Minute)).reported().later(time.Hour)
	require.Equal(t, "RemoveContainer", verbs(For(s.in)))
	s.gone().did(RemoveContainer{ID: "c1"}, nil)
	require.Empty(t, verbs(For(s.in)))
	s.reported()
	require.Empty(t, verbs(For(s.in)))
	s.spec(func(s *v1alpha1.GameRuntimeSpec) { s.Probes.Liveness = &v1alpha1.Probe{} })
	require.Empty(t, verbs(For(s.in)), "a change that needs no new container makes none")
	s.spec(anotherImage)
	require.Equal(t, "CreateContainer StartContainer", verbs(For(s.in)))
}

func TestWishToStartOutlivesAFailedStart(t *testing.T) {
	s := newScene().spec(func(s *v1alpha1.GameRuntimeSpec) {
		s.State, s.RestartPolicy = v1alpha1.StateStopped, v1alpha1.RestartNever
	}).container("c1", engine.StateExited, exited(1, time.Minute)).reported()
	s.spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning })
	s.did(StartContainer{ID: "c1"}, &engine.Error{Kind: engine.PortConflict, Err: errors.New("port is already allocated")}).reported().reported()
	require.Equal(t, "Wait StartContainer", verbs(For(s.in)))
	s.in.View.Containers[0].State, s.in.View.Containers[0].Exit = engine.StateRunning, nil
	s.in.View.Containers[0].StartedAt = s.in.Now
	s.later(time.Minute).reported()
	s.in.View.Containers[0].State, s.in.View.Containers[0].Exit = engine.StateExited, &engine.Exit{Code: 1, FinishedAt: s.in.Now}
	require.Empty(t, verbs(For(s.in)), "the end of that run is the restart policy's matter again")
	require.Zero(t, Status(s.in, For(s.in)).Restarts, "a wish is no restart")
}

func TestRetryNow(t *testing.T) {
	ask := func(value string) func(*v1alpha1.GameRuntime) {
		return func(r *v1alpha1.GameRuntime) { r.Annotations = map[string]string{v1alpha1.AnnotationRetry: value} }
	}
	crashed := newScene().container("c1", engine.StateExited, exited(1, 0)).reported()
	failed := newScene().did(CreateContainer{}, &engine.Error{Kind: engine.NameConflict, Err: errors.New("in use")}).reported()
	for _, s := range []*scene{crashed, failed} {
		require.IsType(t, Wait{}, For(s.in).Next())
		s.record(ask("1"))
		require.NotContains(t, verbs(For(s.in)), "Wait")
		s.reported()
		require.Equal(t, "1", s.in.Record.Status.Retried)
	}
	failed.did(CreateContainer{}, &engine.Error{Kind: engine.NameConflict, Err: errors.New("in use")}).reported()
	require.IsType(t, Wait{}, For(failed.in).Next(), "once for each value")
	failed.record(ask("2"))
	require.NotContains(t, verbs(For(failed.in)), "Wait")
}
