package controllers

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/plan"
)

// edits are changes of a record, and what each comes to for a game that runs.
var edits = map[string]struct {
	edit  func(*v1alpha1.GameRuntimeSpec)
	want  []string
	stops bool
}{
	"nothing":                 {func(*v1alpha1.GameRuntimeSpec) {}, nil, false},
	"what no container shows": {func(s *v1alpha1.GameRuntimeSpec) { s.RestartPolicy = v1alpha1.RestartNever }, nil, false},
	"memory":                  {func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("128Mi") }, []string{"update"}, false},
	"all resources":           {func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Pids, s.Resources.CPU = 7, resource.MustParse("2") }, []string{"update"}, false},
	"image":                   {func(s *v1alpha1.GameRuntimeSpec) { s.Image = "galaxy/chess:1.0.1" }, []string{"pull", "stop", "rename", "create", "start", "remove"}, true},
	"image and memory": {func(s *v1alpha1.GameRuntimeSpec) {
		s.Image, s.Resources.Memory = "galaxy/chess:1.0.1", resource.MustParse("128Mi")
	}, []string{"pull", "stop", "rename", "create", "start", "remove"}, true},
	"environment": {func(s *v1alpha1.GameRuntimeSpec) { s.Env = []v1alpha1.EnvVar{{Name: "LEVEL", Value: "3"}} }, []string{"stop", "rename", "create", "start", "remove"}, true},
	"restartedAt": {func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = &metav1.Time{Time: time.Unix(1e9, 0)} }, []string{"stop", "rename", "create", "start", "remove"}, true},
	"stopped":     {func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }, []string{"stop"}, true},
	"stopped with another image": {func(s *v1alpha1.GameRuntimeSpec) {
		s.State, s.Image = v1alpha1.StateStopped, "galaxy/chess:1.0.1"
	}, []string{"stop"}, true},
}

// recorder is a log that remembers what was begun, in order.
type recorder struct {
	journal.Log
	begun *[]string
}

func (r recorder) Write(ctx context.Context, term int64, begun []journal.Intent, finished map[string]journal.Result) error {
	for _, intent := range begun {
		*r.begun = append(*r.begun, intent.Action)
	}
	return r.Log.Write(ctx, term, begun, finished)
}

// foretold is a world in which chess runs, and what was begun in it since.
func foretold(t *testing.T) (w *world, begun *[]string) {
	t.Helper()
	w = newWorld(t)
	w.sim.Publish("galaxy/chess:1.0.1")
	w.declare(nil)
	w.settle()
	w.elapse(time.Minute)
	begun = &[]string{}
	before := w.journal
	w.journal = journal.New(recorder{w.rows, begun}, w.log)
	w.herald.journal = w.journal
	w.journal.Load(t.Context())
	before.Close()
	return w, begun
}

func actions(p v1alpha1.GameRuntimePlan) (all []string) {
	for _, a := range p.Actions {
		all = append(all, a.Action)
	}
	return all
}

// What is foretold of a change is what is done when the change is made: nothing
// less, nothing more, in that order.
func TestForetoldIsDone(t *testing.T) {
	for name, c := range edits {
		t.Run(name, func(t *testing.T) {
			w, begun := foretold(t)
			asked := w.read()
			c.edit(&asked.Spec)
			if name != "nothing" {
				asked.Generation++
			}
			told := w.foresee(t.Context(), asked)
			require.Equal(t, c.want, actions(told))
			require.Equal(t, c.stops, told.StopsGame)
			require.Equal(t, c.want == nil, told.InSync)
			require.Equal(t, "default/chess", told.Game)
			require.NotEmpty(t, told.Engine)

			w.change(c.edit)
			w.settle()
			operations := slices.DeleteFunc(actions(told), func(a string) bool { return a == v1alpha1.ActionPull })
			require.Equal(t, append([]string{}, operations...), *begun)
		})
	}
}

// To ask does nothing, whatever the answer: not to the engine, not to the record,
// and not to what the loop knows.
func TestForeseeingDoesNothing(t *testing.T) {
	for name, c := range edits {
		t.Run(name, func(t *testing.T) {
			w, begun := foretold(t)
			before, container, calls := w.read(), w.container(), mutations(w)
			asked := w.read()
			c.edit(&asked.Spec)
			asked.Generation++
			asked.Spec.Probes.Liveness = &v1alpha1.Probe{TCPSocket: &v1alpha1.TCPSocketAction{Port: 1}}
			for range 3 {
				w.foresee(t.Context(), asked)
			}
			require.Empty(t, *begun)
			require.Equal(t, calls, mutations(w))
			require.Equal(t, container, w.container())
			require.Equal(t, before, w.read())
			require.Empty(t, w.woken)
			require.False(t, w.busy())
			require.Empty(t, w.prober.Results(client.ObjectKeyFromObject(asked), instanceOf(w.mirror.View(chess).Containers[0])), "no probe began")
			w.settle()
			require.Empty(t, *begun, "and nothing comes of it later")
		})
	}
}

func mutations(w *world) (calls int) {
	for _, verb := range []string{"Create", "Start", "Stop", "Remove", "Rename", "Update", "PullImage", "Exec"} {
		calls += w.sim.Calls(verb)
	}
	return calls
}

func TestForeseeWithoutARecord(t *testing.T) {
	w := newWorld(t)
	told := w.foresee(t.Context(), declared(chess))
	require.Equal(t, []string{"create", "start"}, actions(told))
	require.False(t, told.StopsGame)
	require.Empty(t, w.sim.Calls("Create"))
	require.False(t, w.states.exists(chess))

	unknown := declared(chess)
	unknown.Spec.Image = "galaxy/go:1.0.0"
	require.Equal(t, []string{"pull", "create", "start"}, actions(w.foresee(t.Context(), unknown)))
}

// Who asks about games that vanished does not count them: the brake is for the
// loop to trip.
func TestForeseeingTripsNoBrake(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	w.sim.RemoveByHand(w.container().ID)
	w.seen(func(v engine.View) bool { return len(v.Containers) == 0 })
	told := w.foresee(t.Context(), w.read())
	require.Contains(t, actions(told), v1alpha1.ActionCreate)
	require.Equal(t, v1alpha1.DriftContainerMissing, told.Drift[0].Kind)
	require.Empty(t, w.brake.vanished)

	w.brake.held = &plan.Brake{Message: "too many vanished"}
	told = w.foresee(t.Context(), w.read())
	require.Equal(t, v1alpha1.ReasonMassVanish, told.Actions[0].Reason, "what holds is told")
}

func TestForeseeWithTheEngineAway(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	w.sim.SetDown(true)
	require.Eventually(t, func() bool { return !w.mirror.Fleet().Reachable }, patience, time.Millisecond)
	asked := w.read()
	asked.Spec.Args = []string{enginetest.Serve}
	told := w.foresee(t.Context(), asked)
	require.Equal(t, []string{"wait"}, actions(told))
	require.Equal(t, v1alpha1.ReasonEngineUnreachable, told.Actions[0].Reason)
	require.False(t, told.InSync)
}
