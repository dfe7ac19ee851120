package controllers

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// Games are counted as they come, change and go.
func TestCensus(t *testing.T) {
	c := newCensus()
	starting, ready := &v1alpha1.GameRuntime{}, &v1alpha1.GameRuntime{}
	starting.Spec.State, ready.Spec.State = v1alpha1.StateRunning, v1alpha1.StateRunning
	starting.Status.Pending = &v1alpha1.Pending{Reason: v1alpha1.ReasonPulling}
	ready.Status.Phase = v1alpha1.PhaseRunning
	ready.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	is := func(waiting, pending, running float64) {
		t.Helper()
		require.InDelta(t, waiting, testutil.ToFloat64(c.waiting.WithLabelValues(v1alpha1.ReasonPulling)), 0)
		require.InDelta(t, pending, testutil.ToFloat64(c.games.WithLabelValues("Running", "Pending", "Unknown")), 0)
		require.InDelta(t, running, testutil.ToFloat64(c.games.WithLabelValues("Running", "Running", "True")), 0)
	}
	c.OnAdd(starting, true)
	c.OnAdd(starting, false)
	is(2, 2, 0)
	c.OnUpdate(starting, ready)
	is(1, 1, 1)
	c.OnDelete(ready)
	c.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: starting})
	is(0, 0, 0)
}

// Each action that there is can be counted, and a failure by its kind.
func TestActionsAreCounted(t *testing.T) {
	m := newActionMetrics()
	for _, action := range []plan.Action{
		plan.PullImage{}, plan.CreateContainer{}, plan.StartContainer{}, plan.StopContainer{}, plan.RenameContainer{},
		plan.RemoveContainer{}, plan.UpdateResources{}, plan.RemoveState{}, plan.AdoptContainer{},
	} {
		m.count(action, time.Second, nil)
		require.InDelta(t, 1, testutil.ToFloat64(m.actions.WithLabelValues(actionName(action), v1alpha1.OperationSucceeded)), 0, "%T", action)
	}
	require.Equal(t, 9, testutil.CollectAndCount(m.actions), "all of them were there before, with 0")
	m.count(plan.StartContainer{}, time.Second, &engine.Error{Kind: engine.PortConflict, Err: errors.New("in use")})
	require.InDelta(t, 1, testutil.ToFloat64(m.actions.WithLabelValues(v1alpha1.ActionStart, string(engine.PortConflict))), 0)
}
