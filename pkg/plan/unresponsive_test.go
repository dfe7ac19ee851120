package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

func TestUnresponsiveContainer(t *testing.T) {
	hangs := func(c *engine.Container) { c.Unresponsive = true }
	listed := func(c *engine.Container) { c.Inspected = false }
	moreMemory := func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("1Gi") }
	for _, c := range []struct {
		name   string
		scene  *scene
		want   string
		reason string
	}{
		{"runs, and needs nothing", newScene().container("c1", engine.StateRunning, hangs), "", ""},
		{"ended, how is not known", newScene().container("c1", engine.StateExited, listed, hangs), "Wait StartContainer", v1alpha1.ReasonUnresponsive},
		{"ended, to be started", newScene().container("c1", engine.StateExited, exited(1, time.Hour), hangs), "Wait StartContainer", v1alpha1.ReasonUnresponsive},
		{"limits to be changed", newScene().container("c1", engine.StateRunning, hangs).spec(moreMemory), "Wait UpdateResources", v1alpha1.ReasonUnresponsive},
		{"to be stopped: tried", newScene().container("c1", engine.StateRunning, hangs).spec(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }), "StopContainer", v1alpha1.ReasonStopping},
		{"deleted: tried", newScene().container("c1", engine.StateExited, exited(0, time.Hour), hangs).record(func(r *v1alpha1.GameRuntime) {
			r.DeletionTimestamp = &metav1.Time{Time: now}
		}), "RemoveContainer", v1alpha1.ReasonRemoving},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, verbs(For(c.scene.in)))
			checkStatus(t, c.scene.in)
			pending := Status(c.scene.in, For(c.scene.in)).Pending
			if c.reason == "" {
				require.Nil(t, pending)
				return
			}
			require.Equal(t, c.reason, pending.Reason)
		})
	}
}
