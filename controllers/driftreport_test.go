package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// reported is a world with a reporter, stepped by hand too.
type reported struct {
	*world
	reporter *DriftReporter
}

func newReported(t *testing.T) *reported {
	w := newWorld(t)
	return &reported{w, &DriftReporter{
		client: w.client, live: w.live, mirror: w.mirror, orphans: &w.orphans, brake: w.brake, clock: w.clock, metrics: newDriftMetrics(),
	}}
}

func (r *reported) report() ctrl.Result {
	r.t.Helper()
	result, err := r.reporter.Reconcile(context.Background(), ctrl.Request{})
	require.NoError(r.t, err)
	return result
}

func (r *reported) read() *v1alpha1.DriftReport {
	r.t.Helper()
	report := &v1alpha1.DriftReport{}
	require.NoError(r.t, r.client.Get(context.Background(), client.ObjectKey{Name: "sim"}, report))
	return report
}

func TestDriftReport(t *testing.T) {
	r := newReported(t)
	r.declare(nil)
	r.settle()
	r.report()
	first := r.read()
	require.Equal(t, "sim", first.Status.Engine)
	require.Equal(t, [3]int32{1, 0, 0}, [3]int32{first.Status.InSync, first.Status.Drifted, first.Status.Orphans})
	require.Empty(t, first.Status.Items)
	require.NotNil(t, first.Status.LastScan)
	require.True(t, meta.IsStatusConditionTrue(first.Status.Conditions, v1alpha1.ConditionReachable))

	r.clock.Step(reportEvery)
	require.Equal(t, backstop, r.report().RequeueAfter)
	require.Equal(t, first.ResourceVersion, r.read().ResourceVersion, "nothing new, nothing written")

	record := r.world.read()
	record.Status.Drift = []v1alpha1.Drift{{Kind: v1alpha1.DriftSpecMismatch, Field: "spec.image", FirstSeen: metav1.NewTime(r.clock.Now().Truncate(time.Second))}}
	meta.SetStatusCondition(&record.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionInSync, Status: metav1.ConditionFalse, Reason: "x"})
	require.NoError(t, r.client.Status().Update(context.Background(), record))
	r.report()
	second := r.read()
	require.Equal(t, [3]int32{0, 1, 0}, [3]int32{second.Status.InSync, second.Status.Drifted, second.Status.Orphans})
	require.Equal(t, "default/chess", second.Status.Items[0].Game)
	require.Equal(t, "spec.image", second.Status.Items[0].Field)
	require.Equal(t, record.Status.Container.ID, second.Status.Items[0].Container)
	require.InDelta(t, 1, testutil.ToFloat64(r.reporter.metrics.drift.WithLabelValues("SpecMismatch")), 0)

	r.sim.SetDown(true)
	require.Eventually(t, func() bool { return !r.mirror.Fleet().Reachable }, patience, time.Millisecond)
	require.Equal(t, reportEvery, r.report().RequeueAfter, "not so soon after the one before")
	r.clock.Step(reportEvery)
	r.report()
	require.True(t, meta.IsStatusConditionFalse(r.read().Status.Conditions, v1alpha1.ConditionReachable))
}

func TestDriftReportTellsOfOrphans(t *testing.T) {
	r := newReported(t)
	id := r.byHand("by-hand", r.settings.Installation, nil)
	r.settle()
	r.report()
	status := r.read().Status
	require.EqualValues(t, 1, status.Orphans)
	require.Equal(t, id, status.Items[0].Container)
	require.NotEmpty(t, status.Items[0].Action)
	require.InDelta(t, 1, testutil.ToFloat64(r.reporter.metrics.orphans), 0)

	r.sim.RemoveByHand(id)
	r.seen(func(v engine.View) bool { return len(v.Containers) == 0 })
	r.settle()
	r.clock.Step(reportEvery)
	r.report()
	require.Zero(t, r.read().Status.Orphans)
	require.Zero(t, testutil.ToFloat64(r.reporter.metrics.drift.WithLabelValues("UnrecordedContainer")), "mended is 0")
}

func TestDriftReportThatIsDeletedComesBack(t *testing.T) {
	r := newReported(t)
	r.report()
	require.NoError(t, r.client.Delete(context.Background(), r.read()))
	r.byHand("by-hand", r.settings.Installation, nil)
	r.settle()
	r.clock.Step(reportEvery)
	require.Equal(t, time.Second, r.report().RequeueAfter)
	r.report()
	require.EqualValues(t, 1, r.read().Status.Orphans)
}

func TestDriftReportIsBounded(t *testing.T) {
	var records []v1alpha1.GameRuntime
	for i := range mostItems + 2 {
		record := v1alpha1.GameRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("g", i)}}
		seen := metav1.NewTime(time.Unix(int64(-i), 0))
		record.Status.Drift = []v1alpha1.Drift{{Kind: v1alpha1.DriftContainerExited, FirstSeen: seen}}
		records = append(records, record)
	}
	status, kinds := sumUp(records, nil)
	require.Len(t, status.Items, mostItems)
	require.EqualValues(t, 2, status.Omitted)
	require.Equal(t, "default/g501", status.Items[0].Game, "the oldest first")
	require.Equal(t, mostItems+2, kinds[v1alpha1.DriftContainerExited])
}

func TestNewsForTheDriftReport(t *testing.T) {
	record := func(change func(*v1alpha1.GameRuntimeStatus)) *v1alpha1.GameRuntime {
		r := &v1alpha1.GameRuntime{}
		meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionInSync, Status: metav1.ConditionTrue})
		change(&r.Status)
		return r
	}
	same := record(func(*v1alpha1.GameRuntimeStatus) {})
	require.False(t, driftChanged(same, record(func(s *v1alpha1.GameRuntimeStatus) { s.Restarts = 7 })))
	require.True(t, driftChanged(same, record(func(s *v1alpha1.GameRuntimeStatus) { s.Conditions[0].Status = metav1.ConditionFalse })))
	require.True(t, driftChanged(same, record(func(s *v1alpha1.GameRuntimeStatus) { s.Drift = []v1alpha1.Drift{{Kind: v1alpha1.DriftImageMoved}} })))
}

func TestReportName(t *testing.T) {
	for want, info := range map[string]engine.Info{
		"host-1.example": {Name: "Host_1.example."}, "7tlm-abcd": {ID: "7TLM:ABCD"}, "a.b": {Name: "a.-..b-"}, "engine": {Name: "::"},
	} {
		require.Equal(t, want, reportName(info))
	}
}
