package plan

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

const replaced = "StopContainer RenameContainer CreateContainer StartContainer RemoveContainer"

// fieldEffects says what a change of each field of the spec does to a running game.
var fieldEffects = map[string]struct {
	change func(*v1alpha1.GameRuntimeSpec)
	want   string
}{
	"State":                  {func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }, "StopContainer"},
	"Image":                  {func(s *v1alpha1.GameRuntimeSpec) { s.Image = "galaxy/chess:2.0.0" }, replaced},
	"ImagePullPolicy":        {func(s *v1alpha1.GameRuntimeSpec) { s.ImagePullPolicy = v1alpha1.PullNever }, ""},
	"Command":                {func(s *v1alpha1.GameRuntimeSpec) { s.Command = []string{"/game"} }, replaced},
	"Args":                   {func(s *v1alpha1.GameRuntimeSpec) { s.Args = []string{"-fast"} }, replaced},
	"Env":                    {func(s *v1alpha1.GameRuntimeSpec) { s.Env = []v1alpha1.EnvVar{{Name: "A", Value: "b"}} }, replaced},
	"WorkingDir":             {func(s *v1alpha1.GameRuntimeSpec) { s.WorkingDir = "/work" }, replaced},
	"Ports":                  {func(s *v1alpha1.GameRuntimeSpec) { s.Ports = nil }, replaced},
	"Resources":              {func(s *v1alpha1.GameRuntimeSpec) { s.Resources.CPU = resource.MustParse("250m") }, "UpdateResources"},
	"Storage":                {func(s *v1alpha1.GameRuntimeSpec) { s.Storage.ReclaimPolicy = v1alpha1.ReclaimDelete }, ""},
	"Probes":                 {func(s *v1alpha1.GameRuntimeSpec) { s.Probes.Liveness = &v1alpha1.Probe{} }, ""},
	"StopGracePeriodSeconds": {func(s *v1alpha1.GameRuntimeSpec) { s.StopGracePeriodSeconds = ptr.To[int32](5) }, ""},
	"StopSignal":             {func(s *v1alpha1.GameRuntimeSpec) { s.StopSignal = "SIGINT" }, ""},
	"RestartPolicy":          {func(s *v1alpha1.GameRuntimeSpec) { s.RestartPolicy = v1alpha1.RestartNever }, ""},
	"Backoff":                {func(s *v1alpha1.GameRuntimeSpec) { s.Backoff.Max = metav1.Duration{Duration: time.Hour} }, ""},
	"Lifecycle":              {func(s *v1alpha1.GameRuntimeSpec) { s.Lifecycle.PreStop = &v1alpha1.LifecycleHandler{} }, ""},
	"Update":                 {func(s *v1alpha1.GameRuntimeSpec) { s.Update.Policy = v1alpha1.UpdateAny }, ""},
	"RetainStoppedFor":       {func(s *v1alpha1.GameRuntimeSpec) { s.RetainStoppedFor = &metav1.Duration{} }, ""},
	"DriftPolicy":            {func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftObserve }, ""},
	"RestartedAt":            {func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = &metav1.Time{Time: now} }, replaced},
	"SecurityContext":        {func(s *v1alpha1.GameRuntimeSpec) { s.SecurityContext.RunAsUser = ptr.To[int64](1000) }, replaced},
}

func TestEveryFieldOfTheSpecHasAnEffectThatIsKnown(t *testing.T) {
	spec := reflect.TypeOf(v1alpha1.GameRuntimeSpec{})
	for i := range spec.NumField() {
		name := spec.Field(i).Name
		effect, known := fieldEffects[name]
		require.True(t, known, "say what a change of spec.%s does", name)
		s := newScene().container("c1", engine.StateRunning).spec(effect.change)
		require.Equal(t, effect.want, verbs(For(s.in)), "spec.%s", name)
	}
}
