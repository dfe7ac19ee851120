package health

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

func full() *v1alpha1.GameRuntime {
	status := stopped(ended(v1alpha1.TerminationCrashed, 3, "exit code 3"))
	status.ObservedGeneration, status.Phase = 4, v1alpha1.PhaseFailed
	status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}, {Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionTrue}}
	status.Health = []v1alpha1.ProbeStatus{{Probe: "liveness", Verdict: v1alpha1.VerdictFailing, Message: "HTTP 503", Since: at(30), FailedAt: at(30)}}
	return chess(status)
}

func TestASnapshotIsReadBackEqual(t *testing.T) {
	s := SnapshotOf(full(), time.Now())
	require.Len(t, s.Told, len(Of(full())))
	var back Snapshot
	require.NoError(t, json.Unmarshal(s.JSON(), &back))
	require.Equal(t, s, back)
	require.Equal(t, "default/chess", back.Game().String())

	empty := SnapshotOf(chess(v1alpha1.GameRuntimeStatus{}), time.Now())
	require.Equal(t, metav1.ConditionUnknown, empty.Ready)
}

// A field that Equal forgot would be a change that is not written.
func TestEachFieldOfASnapshotCounts(t *testing.T) {
	s := SnapshotOf(full(), time.Now())
	require.True(t, s.Equal(SnapshotOf(full(), time.Now().Add(time.Hour))), "when it was taken is no change")
	for i := range reflect.TypeFor[Snapshot]().NumField() {
		field := reflect.TypeFor[Snapshot]().Field(i)
		value := reflect.ValueOf(s).Field(i)
		require.False(t, value.IsZero(), "%s is set, or this test says nothing", field.Name)
		if field.Name == "At" {
			continue
		}
		other := s
		reflect.ValueOf(&other).Elem().Field(i).SetZero()
		require.False(t, s.Equal(other), field.Name)
	}
}
