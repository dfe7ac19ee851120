package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// steps are a preview in a few words: the action, and what is special about it.
func steps(told v1alpha1.GameRuntimePlan) (all []string) {
	for _, a := range told.Actions {
		step := a.Action
		if a.StopsGame {
			step += " stops"
		}
		if a.Destructive {
			step += " destroys"
		}
		all = append(all, step)
	}
	return all
}

func TestPreview(t *testing.T) {
	deleted := func(r *v1alpha1.GameRuntime) { r.DeletionTimestamp = &metav1.Time{Time: now} }
	reclaimed := func(s *v1alpha1.GameRuntimeSpec) { s.Storage.ReclaimPolicy = v1alpha1.ReclaimDelete }
	running := func() *scene { return newScene().container("c1", engine.StateRunning) }
	goes := running().record(deleted).spec(reclaimed)
	goes.in.StateExists = true
	for name, c := range map[string]struct {
		scene *scene
		want  []string
		stops bool
	}{
		"in sync":                {running(), nil, false},
		"new":                    {newScene(), []string{"create", "start"}, false},
		"another image":          {running().spec(anotherImage), []string{"stop stops", "rename", "create", "start", "remove"}, true},
		"deleted":                {running().record(deleted), []string{"stop stops", "remove"}, true},
		"deleted with its state": {goes, []string{"stop stops", "remove", "remove-state destroys"}, true},
		"observed only": {running().spec(anotherImage).spec(func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftObserve }),
			[]string{"wait", "stop stops", "rename", "create", "start", "remove"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := For(c.scene.in)
			told := Preview(c.scene.in, p)
			require.Equal(t, c.want, steps(told))
			require.Equal(t, c.stops, told.StopsGame)
			require.Equal(t, p.InSync(), told.InSync)
			require.Equal(t, "default/chess", told.Game)
			require.Equal(t, "host", told.Engine)
		})
	}
}

// A wait tells what for and until when, in fields of their own.
func TestPreviewOfAWait(t *testing.T) {
	s := newScene()
	until := now.Add(time.Minute)
	told := Preview(s.in, Plan{Actions: []Action{
		Wait{Reason: v1alpha1.ReasonBackOff, Message: "it crashed", Until: until}, StartContainer{ID: "0123456789abcdef"},
	}})
	require.Equal(t, v1alpha1.PlannedAction{Action: v1alpha1.ActionWait, Message: "it crashed", Reason: v1alpha1.ReasonBackOff, Until: microTime(until)}, told.Actions[0])
	require.Equal(t, v1alpha1.PlannedAction{Action: v1alpha1.ActionStart, Message: "start container 0123456789ab"}, told.Actions[1])
}

// Every action that a plan of a record can hold has a name.
func TestPreviewKnowsAllActions(t *testing.T) {
	s := newScene()
	for _, a := range []Action{
		Wait{}, PullImage{}, CreateContainer{}, StartContainer{}, StopContainer{}, RenameContainer{}, RemoveContainer{}, UpdateResources{}, RemoveState{},
	} {
		require.NotEmpty(t, planned(a, s.in).Action, fmt.Sprintf("%T", a))
	}
}
