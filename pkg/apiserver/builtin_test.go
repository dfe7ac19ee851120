package apiserver

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/randfill"
)

func testEvents(t *testing.T, a *api) {
	ns := a.namespace("events")
	written, err := a.client.EventsV1().Events(ns).Create(t.Context(), &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Name: "chess.1"},
		EventTime:           metav1.NowMicro(),
		Regarding:           corev1.ObjectReference{Kind: "GameRuntime", Name: "chess", Namespace: ns, UID: "u1"},
		Reason:              "ContainerStarted",
		Note:                "started",
		Type:                corev1.EventTypeNormal,
		Action:              "Start",
		ReportingController: "runtime-manager",
		ReportingInstance:   "here",
		Series:              &eventsv1.EventSeries{Count: 3, LastObservedTime: metav1.NowMicro()},
	}, metav1.CreateOptions{})
	require.NoError(t, err)

	core, err := a.client.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=chess,involvedObject.uid=u1,reason=ContainerStarted"})
	require.NoError(t, err)
	require.Len(t, core.Items, 1)
	require.Equal(t, written.UID, core.Items[0].UID, "one object, two views")
	require.Equal(t, "started", core.Items[0].Message)
	require.EqualValues(t, 3, core.Items[0].Series.Count)
	require.InDelta(t, eventTTL.Seconds(), a.ttl(string(written.UID)), patience.Seconds(), "an Event is not kept for ever")

	for selector, want := range map[string]int{"regarding.name=chess": 1, "regarding.name=go": 0, "reportingController=runtime-manager": 1} {
		list, err := a.client.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: selector})
		require.NoError(t, err)
		require.Len(t, list.Items, want, selector)
	}
	_, err = a.client.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "message=started"})
	requireStatus(t, err, http.StatusBadRequest, "field label not supported")

	_, err = a.client.EventsV1().Events(ns).Create(t.Context(), &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "elsewhere"}, Regarding: corev1.ObjectReference{Namespace: "other"},
	}, metav1.CreateOptions{})
	requireStatus(t, err, http.StatusUnprocessableEntity, "involvedObject.namespace")
	require.Regexp(t, `LAST SEEN +TYPE +REASON +OBJECT +SOURCE +MESSAGE +FIRST SEEN +COUNT +NAME\n.*Normal +ContainerStarted +gameruntime/chess +runtime-manager +started +\S+ +3 +chess.1`,
		a.kubectl("", "get", "events.events.k8s.io", "-n", ns, "-o", "wide"))
}

// An Event written in one group and read in the other has lost nothing.
func TestEventConversionKeepsEveryField(t *testing.T) {
	filler := randfill.NewWithSeed(1).NilChance(0).NumElements(1, 2).MaxDepth(8)
	for range 50 {
		var in, out eventsv1.Event
		var core corev1.Event
		filler.Fill(&in)
		in.TypeMeta = metav1.TypeMeta{}
		toCoreEvent(&in, &core)
		fromCoreEvent(&core, &out)
		require.Equal(t, in, out)
	}
}

func testLeases(t *testing.T, a *api) {
	ns := a.namespace("leases")
	leases := a.client.CoordinationV1().Leases(ns)
	_, err := leases.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "manager"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), LeaseDurationSeconds: ptr.To[int32](15)},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = leases.Patch(t.Context(), "manager", types.MergePatchType, []byte(`{"spec":{"leaseDurationSeconds":0}}`), metav1.PatchOptions{})
	requireStatus(t, err, http.StatusUnprocessableEntity, "spec.leaseDurationSeconds")
	_, err = leases.Update(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "manager"}}, metav1.UpdateOptions{})
	requireStatus(t, err, http.StatusUnprocessableEntity, "metadata.resourceVersion")
}

func testNamespaces(t *testing.T, a *api) {
	namespaces := a.client.CoreV1().Namespaces()
	for name, says := range map[string]string{"a.b": "must not contain dots", "Upper": "lowercase RFC 1123 label"} {
		_, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		requireStatus(t, err, http.StatusUnprocessableEntity, says)
	}
	err := namespaces.Delete(t.Context(), metav1.NamespaceDefault, metav1.DeleteOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)

	active, err := namespaces.List(t.Context(), metav1.ListOptions{FieldSelector: "status.phase=Active,metadata.name=default"})
	require.NoError(t, err)
	require.Len(t, active.Items, 1)

	_, err = namespaces.Patch(t.Context(), "default", types.MergePatchType, []byte(`{"status":{"phase":"Terminating","conditions":[{"type":"Lied","status":"True"}]}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	ns, err := namespaces.Get(t.Context(), "default", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.NamespaceStatus{Phase: corev1.NamespaceActive}, ns.Status, "the status is the server's own")
}

func testNamespaceDeletion(t *testing.T, a *api) {
	ns := a.namespace("arena")
	held := game("chess")
	held.SetFinalizers([]string{"test.galaxy.io/hold"})
	_, err := a.games(ns).Create(t.Context(), held, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = a.games(ns).Create(t.Context(), game("go"), metav1.CreateOptions{})
	require.NoError(t, err)

	require.NoError(t, a.client.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}))
	require.Regexp(t, `arena +Terminating`, a.kubectl("", "get", "ns", ns))
	_, err = a.games(ns).Create(t.Context(), game("late"), metav1.CreateOptions{})
	requireStatus(t, err, http.StatusForbidden, "it is being terminated")
	require.True(t, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), "%v", err)

	require.EventuallyWithT(t, func(c *assert.CollectT) {
		left, err := a.games(ns).List(t.Context(), metav1.ListOptions{})
		require.NoError(c, err)
		require.Len(c, left.Items, 1, "go is deleted")
		require.NotNil(c, left.Items[0].GetDeletionTimestamp(), "chess waits for its finalizer, and the namespace for chess")
	}, patience, 20*time.Millisecond)

	_, err = a.games(ns).Patch(t.Context(), "chess", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := a.client.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, patience, 20*time.Millisecond)
}
