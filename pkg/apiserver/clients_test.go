package apiserver

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/reference"
	ctrl "sigs.k8s.io/controller-runtime"                             //nolint:depguard // a client of the server, here
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server" //nolint:depguard // a client of the server, here
)

// What is written in either group of Events is watched in the other.
func testEventWatches(t *testing.T, a *api) {
	ns := a.namespace("event-watches")
	none, err := a.client.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	since := metav1.ListOptions{ResourceVersion: none.ResourceVersion} // a watch of what there is tells that by name
	inCore, err := a.client.CoreV1().Events(ns).Watch(t.Context(), since)
	require.NoError(t, err)
	defer inCore.Stop()
	inNew, err := a.client.EventsV1().Events(ns).Watch(t.Context(), since)
	require.NoError(t, err)
	defer inNew.Stop()

	regarding := corev1.ObjectReference{Kind: "GameRuntime", Name: "chess", Namespace: ns}
	_, err = a.client.CoreV1().Events(ns).Create(t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "old"}, InvolvedObject: regarding, Reason: "Stopped", Message: "of old", Type: corev1.EventTypeNormal,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = a.client.EventsV1().Events(ns).Create(t.Context(), &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "new"}, Regarding: regarding, Reason: "Started", Note: "of new", Type: corev1.EventTypeNormal,
		EventTime: metav1.NowMicro(), Action: "Start", ReportingController: "manager", ReportingInstance: "here",
	}, metav1.CreateOptions{})
	require.NoError(t, err)

	for _, want := range []struct{ name, text string }{{"old", "of old"}, {"new", "of new"}} {
		core := next(t, inCore).(*corev1.Event)
		require.Equal(t, want, struct{ name, text string }{core.Name, core.Message})
		event := next(t, inNew).(*eventsv1.Event)
		require.Equal(t, want, struct{ name, text string }{event.Name, event.Note})
		require.Equal(t, core.UID, event.UID)
		require.Equal(t, core.ResourceVersion, event.ResourceVersion)
	}
}

// next is the object of the next thing that a watch tells.
func next(t *testing.T, w watch.Interface) any {
	t.Helper()
	select {
	case e, open := <-w.ResultChan():
		require.True(t, open, "the watch ended")
		require.Equal(t, watch.Added, e.Type)
		return e.Object
	case <-time.After(patience):
		require.FailNow(t, "the watch tells nothing")
		return nil
	}
}

// The recorders of a controller-runtime manager write Events in both groups.
func testEventRecorders(t *testing.T, a *api) {
	ns := a.namespace("recorders")
	chess, err := a.games(ns).Create(t.Context(), game("chess"), metav1.CreateOptions{})
	require.NoError(t, err)
	manager, err := ctrl.NewManager(a.admin, ctrl.Options{Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- manager.Start(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
	}()

	ref, err := reference.GetReference(manager.GetScheme(), chess)
	require.NoError(t, err)
	manager.GetEventRecorderFor("old-manager").Event(ref, corev1.EventTypeNormal, "Stopped", "by the old recorder") //nolint:staticcheck // many controllers still use it
	manager.GetEventRecorder("new-manager").Eventf(ref, nil, corev1.EventTypeWarning, "Started", "Start", "by the new %s", "recorder")

	require.EventuallyWithT(t, func(c *assert.CollectT) {
		list, err := a.client.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(chess.GetUID())})
		require.NoError(c, err)
		said := map[string]string{}
		for _, e := range list.Items {
			said[e.Reason] = e.Message
		}
		require.Equal(c, map[string]string{"Stopped": "by the old recorder", "Started": "by the new recorder"}, said)
	}, patience, 20*time.Millisecond)
	described := a.kubectl("", "describe", "gr", "chess", "-n", ns)
	require.Regexp(t, `Normal +Stopped .* old-manager +by the old recorder`, described)
	require.Regexp(t, `Warning +Started .* new-manager +by the new recorder`, described)
}

// Of two contenders for a Lease one leads at a time, and the other follows when
// that one lets go.
func testLeaderElection(t *testing.T, a *api) {
	ns := a.namespace("election")
	client, err := kubernetes.NewForConfig(a.admin)
	require.NoError(t, err)
	leads := make(chan string, 2)
	resign := map[string]context.CancelFunc{}
	var contenders sync.WaitGroup
	defer contenders.Wait()
	for _, name := range []string{"a", "b"} {
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta: metav1.ObjectMeta{Namespace: ns, Name: "lead"}, Client: client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: name},
			},
			LeaseDuration: 5 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 50 * time.Millisecond,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { leads <- name },
				OnStoppedLeading: func() {},
			},
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		resign[name] = cancel
		contenders.Go(func() { elector.Run(ctx) })
	}
	leader := func() string {
		select {
		case name := <-leads:
			return name
		case <-time.After(patience):
			require.FailNow(t, "nobody leads")
			return ""
		}
	}
	first := leader()
	require.Eventually(t, func() bool { // it has renewed, against the other's tries
		lease, err := client.CoordinationV1().Leases(ns).Get(t.Context(), "lead", metav1.GetOptions{})
		return err == nil && *lease.Spec.HolderIdentity == first && lease.Spec.RenewTime.After(lease.Spec.AcquireTime.Add(time.Second))
	}, patience, 20*time.Millisecond)
	require.Empty(t, leads, "one leads at a time")
	resign[first]()
	require.NotEqual(t, first, leader())
}

// The answers are those of Kubernetes' admission plugin NamespaceLifecycle.
func testMissingNamespace(t *testing.T, a *api) {
	lease := `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"x"}}`
	_, err := a.games("nowhere").Create(t.Context(), game("chess"), metav1.CreateOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	require.EqualError(t, err, `namespaces "nowhere" not found`)
	out, code := a.tryKubectl(lease, "create", "-n", "nowhere", "-f", "-")
	require.NotZero(t, code)
	require.Contains(t, out, `namespaces "nowhere" not found`)
}
