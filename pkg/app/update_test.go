//go:build integration

package app

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// annotate sets an annotation, or takes it away if the value is empty.
func (m *manager) annotate(object client.Object, key, value string) {
	m.t.Helper()
	written := "null"
	if value != "" {
		written = fmt.Sprintf("%q", value)
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, written)
	require.NoError(m.t, m.Patch(context.Background(), object, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// names lists a game's containers as "name state".
func (m *manager) names(name string) []string {
	m.t.Helper()
	out := dockerCLI(m.t, "ps", "-a", "--format", "{{.Names}} {{.State}}",
		"--filter", "label="+v1alpha1.LabelInstallation+"="+m.installation(), "--filter", "label="+v1alpha1.LabelGame+"="+name)
	return strings.Split(out, "\n")
}

// TestUpdateThatFailsIsRolledBack: a new image that crashes costs a game a
// moment, and none of its state.
func TestUpdateThatFailsIsRolledBack(t *testing.T) {
	m := startManager(t, nil)
	m.create(game("chess"))
	g := m.awaitReady("chess")
	before := g.Status.Container
	require.Equal(t, 1, turn(t, g))

	m.update("chess", func(s *v1alpha1.GameRuntimeSpec) {
		s.Image = newerImage
		s.Env = []v1alpha1.EnvVar{{Name: "CRASH_AFTER", Value: "1ms"}, {Name: "EXIT_CODE", Value: "3"}}
	})
	g = m.await("chess", "the old container, ready", func(g *v1alpha1.GameRuntime) bool {
		return g.Status.Rollback != nil && g.Status.Container.ID == before.ID && isReady(g)
	})
	require.Equal(t, newerImage, g.Status.Rollback.Image)
	require.Contains(t, g.Status.Rollback.Message, "exit code 3")
	require.Equal(t, demoImage, g.Status.Container.Image)
	require.Equal(t, 2, turn(t, g), "with its state")
	progressing := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionProgressing)
	require.Equal(t, v1alpha1.ReasonRolledBack, progressing.Reason)
	require.False(t, meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionInSync))
	require.NotEmpty(t, g.Status.Drift, "what is refused still differs")
	require.Equal(t, []string{before.Name + " running"}, m.names("chess"))

	m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.Env = nil })
	g = m.await("chess", "the update, mended", func(g *v1alpha1.GameRuntime) bool {
		return isReady(g) && g.Status.Container.Image == newerImage && g.Status.Rollback == nil
	})
	require.Equal(t, 3, turn(t, g))
	m.await("chess", "InSync", func(g *v1alpha1.GameRuntime) bool {
		return meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionInSync)
	})
	require.Equal(t, []string{before.Name + " running"}, m.names("chess"), "the old one is gone")
}

// TestOldContainerIsKeptUntilTheNewOneIsReady, and comes back when the record does.
func TestOldContainerIsKeptUntilTheNewOneIsReady(t *testing.T) {
	m := startManager(t, nil)
	m.create(game("chess"))
	g := m.awaitReady("chess")
	before := g.Status.Container
	unready := func(s *v1alpha1.GameRuntimeSpec) {
		s.Image = newerImage
		s.Probes.Readiness.HTTPGet.Path = "/no-such-page"
	}
	m.update("chess", unready)
	m.await("chess", "a new container that is not ready", func(g *v1alpha1.GameRuntime) bool {
		return g.Status.Container.ID != before.ID && g.Status.Container.State == v1alpha1.ContainerRunning
	})
	require.ElementsMatch(t, []string{before.Name + " running", before.Name + ".previous exited"}, m.names("chess"))
	m.update("chess", func(s *v1alpha1.GameRuntimeSpec) {
		s.Image = demoImage
		s.Probes.Readiness.HTTPGet.Path = "/readyz"
	})
	m.await("chess", "the first container", func(g *v1alpha1.GameRuntime) bool {
		return isReady(g) && g.Status.Container.ID == before.ID && g.Status.Container.State == v1alpha1.ContainerRunning
	})
	require.Equal(t, []string{before.Name + " running"}, m.names("chess"))
}

func TestNamespaceIsObserved(t *testing.T) {
	m := startManager(t, nil)
	m.create(game("chess"))
	g := m.awaitReady("chess")
	home := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	m.annotate(home, v1alpha1.AnnotationDriftPolicy, string(v1alpha1.DriftObserve))
	dockerCLI(t, "kill", g.Status.Container.ID)
	g = m.await("chess", "a game that is observed", func(g *v1alpha1.GameRuntime) bool {
		return g.Status.Pending != nil && g.Status.Pending.Reason == v1alpha1.ReasonObserved
	})
	require.Equal(t, v1alpha1.DriftContainerExited, g.Status.Drift[0].Kind)
	require.Equal(t, "false", dockerCLI(t, "inspect", "-f", "{{.State.Running}}", g.Status.Container.ID))
	m.annotate(home, v1alpha1.AnnotationDriftPolicy, "")
	m.awaitReady("chess")
}

func TestRetryNow(t *testing.T) {
	m := startManager(t, nil)
	g := game("chess")
	g.Spec.Backoff.Initial = metav1.Duration{Duration: 5 * 60e9}
	m.create(g)
	g = m.awaitReady("chess")
	dockerCLI(t, "kill", g.Status.Container.ID)
	g = m.await("chess", "a long back-off", func(g *v1alpha1.GameRuntime) bool {
		return g.Status.Pending != nil && g.Status.Pending.Reason == v1alpha1.ReasonBackOff
	})
	m.annotate(g, v1alpha1.AnnotationRetry, "now")
	m.awaitReady("chess")
}

// TestStoppedContainerIsRetired: it goes after its time, its state stays.
func TestStoppedContainerIsRetired(t *testing.T) {
	m := startManager(t, nil)
	g := game("chess")
	g.Spec.RetainStoppedFor = ptr.To(metav1.Duration{Duration: 1e9})
	m.create(g)
	require.Equal(t, 1, turn(t, m.awaitReady("chess")))
	m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	m.await("chess", "its container gone", func(g *v1alpha1.GameRuntime) bool {
		return g.Status.Container.State == v1alpha1.ContainerRemoved && g.Status.Phase == v1alpha1.PhaseStopped
	})
	require.Empty(t, m.containers("chess"))
	m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning })
	require.Equal(t, 2, turn(t, m.awaitReady("chess")))
}
