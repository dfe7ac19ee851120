package command

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// awaited is a wait that goes on beside a test.
type awaited struct {
	seen   chan *v1alpha1.GameRuntime
	result chan Result
}

func (d *desk) await(ctx context.Context, answer Answer) awaited {
	a := awaited{seen: make(chan *v1alpha1.GameRuntime, 100), result: make(chan Result, 1)}
	go func() { a.result <- d.Await(ctx, answer, func(record *v1alpha1.GameRuntime) { a.seen <- record }) }()
	return a
}

// tell writes the status of chess, as the manager does.
func (d *desk) tell(status v1alpha1.GameRuntimeStatus) {
	d.t.Helper()
	stored, err := d.records.Get(d.t.Context(), "chess", metav1.GetOptions{})
	require.NoError(d.t, err)
	told, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	require.NoError(d.t, err)
	stored.Object["status"] = told
	_, err = d.records.UpdateStatus(d.t.Context(), stored, metav1.UpdateOptions{})
	require.NoError(d.t, err)
}

// running is a status that fulfils a start.
func running(generation int64) v1alpha1.GameRuntimeStatus {
	return v1alpha1.GameRuntimeStatus{
		ObservedGeneration: generation,
		Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionEngineReachable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonEngineReachable, LastTransitionTime: metav1.Now(),
		}},
		Container: &v1alpha1.ContainerStatus{ID: "c1", State: v1alpha1.ContainerRunning, StartedBy: "o1"},
	}
}

func next[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nothing comes")
		panic("unreachable")
	}
}

func testAwait(t *testing.T, d *desk) {
	a := d.await(t.Context(), d.start())
	require.Empty(t, next(t, a.seen).Status.Phase)
	d.tell(v1alpha1.GameRuntimeStatus{ObservedGeneration: 1, Phase: v1alpha1.PhaseStarting})
	require.Equal(t, v1alpha1.PhaseStarting, next(t, a.seen).Status.Phase)
	d.tell(running(1))
	require.Equal(t, Result{Outcome: Success, OperationID: "o1"}, next(t, a.result))

	done := d.await(t.Context(), d.start())
	require.Equal(t, Result{Outcome: Success, ErrorCode: v1alpha1.CodeReplayNoOp, Message: "the record said so already", OperationID: "o1"}, next(t, done.result), "at once")
}

func testAwaitGone(t *testing.T, d *desk) {
	a := d.await(t.Context(), d.start())
	next(t, a.seen)
	require.NoError(t, d.records.Delete(t.Context(), "chess", metav1.DeleteOptions{}))
	require.Equal(t, v1alpha1.CodeNotFound, next(t, a.result).ErrorCode)
}

func testAwaitOverdue(t *testing.T, d *desk) {
	ctx, cancel := context.WithCancel(t.Context())
	a := d.await(ctx, d.start())
	next(t, a.seen)
	cancel()
	require.Equal(t, Result{Outcome: Failure, ErrorCode: v1alpha1.CodeTimeout, Message: "the record says so, and it is not taken up yet"}, next(t, a.result))
}
