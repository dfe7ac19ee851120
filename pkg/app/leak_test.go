//go:build integration

package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/plan"
)

// Games that come and go leave nothing on the engine but the network that they
// share, and nothing on the host but the state that is to be kept. Each of the
// games has two containers a round, and each of those an anonymous volume. What
// other tests have on the engine at the same time does not count.
func TestNothingLeaks(t *testing.T) {
	const rounds = 5
	reclaim := map[string]v1alpha1.ReclaimPolicy{
		"chess": v1alpha1.ReclaimRetain, "go": v1alpha1.ReclaimRetain, "hex": v1alpha1.ReclaimDelete, "shogi": v1alpha1.ReclaimDelete,
	}
	image := imageWithVolume(t)
	m := startManager(t, nil)
	volumes := map[string]bool{}
	each := func(do func(name string)) {
		for name := range reclaim {
			do(name)
		}
	}
	for round := range rounds {
		each(func(name string) {
			g := game(name)
			g.Spec.Image, g.Spec.Storage.ReclaimPolicy = image, reclaim[name]
			m.create(g)
		})
		first := map[string]string{}
		each(func(name string) {
			first[name] = m.awaitReady(name).Status.Container.ID
			volumes[anonymousVolume(t, first[name])] = true
			m.update(name, func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = ptr.To(metav1.Now()) })
		})
		each(func(name string) {
			g := m.await(name, "another container", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Container.ID != first[name] })
			volumes[anonymousVolume(t, g.Status.Container.ID)] = true
			past := 0
			if reclaim[name] == v1alpha1.ReclaimRetain {
				past = round
			}
			require.Equal(t, past+1, turn(t, g), "turns of %s in round %d", name, round)
			m.update(name, func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
		})
		each(func(name string) {
			g := m.await(name, "Stopped", func(g *v1alpha1.GameRuntime) bool { return g.Status.Phase == v1alpha1.PhaseStopped })
			require.NoError(t, m.Delete(context.Background(), g))
		})
		each(func(name string) {
			m.awaitGone(name)
			if reclaim[name] == v1alpha1.ReclaimRetain {
				require.FileExists(t, firstFile(t, m.stateDir(name)))
			} else {
				require.NoDirExists(t, m.stateDir(name))
			}
		})
	}
	require.Len(t, volumes, 2*rounds*len(reclaim), "a volume for each container")
	left := slices.DeleteFunc(strings.Fields(dockerCLI(t, "volume", "ls", "-q")), func(volume string) bool { return !volumes[volume] })
	require.Empty(t, left, "volumes are left behind")
	ours := "label=" + v1alpha1.LabelInstallation + "=" + m.installation()
	require.Empty(t, dockerCLI(t, "ps", "-aq", "--filter", ours), "containers are left behind")
	require.Equal(t, plan.NetworkName(m.installation()), dockerCLI(t, "network", "ls", "--format", "{{.Name}}", "--filter", ours))
}

// imageWithVolume is the reference game in an image that asks for a volume.
func imageWithVolume(t *testing.T) string {
	t.Helper()
	image := fmt.Sprintf("galaxy/leak-%s:1.0.0", strings.ToLower(rand.Text()[:12]))
	made := dockerCLI(t, "create", demoImage)
	defer dockerCLI(t, "rm", made)
	dockerCLI(t, "commit", "--change", "VOLUME /data", made, image)
	t.Cleanup(func() { _ = exec.Command("docker", "image", "rm", "-f", image).Run() })
	return image
}

// anonymousVolume is the name of a container's only volume.
func anonymousVolume(t *testing.T, container string) string {
	t.Helper()
	name := dockerCLI(t, "inspect", "-f", `{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}}{{end}}{{end}}`, container)
	require.Len(t, name, 64, "one volume without a name")
	return name
}
