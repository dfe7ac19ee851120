//go:build integration

package app

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine/enginetest/registrytest"
)

// publish puts a reference game that is like no other one into a registry, and
// keeps nothing of it here.
func publish(t *testing.T, registry *registrytest.Registry, name string) (ref string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "unlike")
	require.NoError(t, os.WriteFile(file, []byte(rand.Text()), 0o600))
	local := "galaxy-test-" + strings.ToLower(rand.Text()[:12]) + ":1.0.0"
	id := dockerCLI(t, "create", demoImage)
	defer dockerCLI(t, "rm", id)
	dockerCLI(t, "cp", file, id+":/unlike")
	dockerCLI(t, "commit", id, local)
	defer dockerCLI(t, "rmi", local)
	return registry.Push(local, name)
}

// pullFails waits until a game tells of a pull that failed for that reason.
func (m *manager) pullFails(name, why string) {
	m.t.Helper()
	g := m.await(name, "a pull that fails: "+why, func(g *v1alpha1.GameRuntime) bool {
		return g.Status.Pending != nil && g.Status.Pending.Reason == v1alpha1.ReasonImagePullFailed && strings.Contains(g.Status.Pending.Message, why)
	})
	require.NotNil(m.t, g.Status.Pending.NextTry)
	require.NotContains(m.t, g.Status.Pending.Message, registrytest.Password)
}

func TestPulls(t *testing.T) {
	registry := registrytest.Start(t)
	ref, newer := publish(t, registry, "galaxy/chess:1.0.0"), publish(t, registry, "galaxy/chess:1.0.1")
	login := filepath.Join(t.TempDir(), "config.json")
	registry.Login(login, "a wrong one")
	m := startManager(t, func(c *Config) { c.RegistryConfig = login })
	declare := func(ref string, change func(*v1alpha1.GameRuntimeSpec), names ...string) {
		for _, name := range names {
			g := game(name)
			g.Spec.Image = ref
			if change != nil {
				change(&g.Spec)
			}
			m.create(g)
		}
	}
	five := func(kind string) (names []string) {
		for i := range 5 {
			names = append(names, fmt.Sprintf("%s-%d", kind, i))
		}
		return names
	}

	t.Run("a wrong password is told, a right one taken up", func(t *testing.T) {
		declare(ref, nil, five("chess")...)
		m.pullFails("chess-0", "the registry refuses access") // the others wait until it may be asked again
		require.Zero(t, registry.Pulls())
		registry.Login(login, registrytest.Password)
		for _, name := range five("chess") {
			digest := m.awaitReady(name).Status.Container.RepoDigest
			require.Equal(t, dockerCLI(t, "image", "inspect", "-f", "{{index .RepoDigests 0}}", ref), digest)
			require.Contains(t, digest, registry.Host+"/galaxy/chess@sha256:")
		}
		require.Equal(t, 1, registry.Pulls(), "one pull for all")
	})
	t.Run("an image that is not there", func(t *testing.T) {
		declare(registry.Host+"/galaxy/chess:9.9.9", nil, "typo")
		m.pullFails("typo", "the registry has no such image")
	})
	t.Run("a registry that is down, and comes back", func(t *testing.T) {
		pulled := registry.Pulls()
		registry.Shut()
		declare(newer, nil, five("go")...)
		m.pullFails("go-0", "the registry cannot be reached")
		registry.Open()
		for _, name := range five("go") {
			m.awaitReady(name)
		}
		require.Equal(t, pulled+1, registry.Pulls())
	})
	t.Run("a restart and a new container ask no registry", func(t *testing.T) {
		pulled := registry.Pulls()
		g := m.read("chess-0")
		dockerCLI(t, "kill", g.Status.Container.ID)
		m.await("chess-0", "a restart", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Restarts == 1 })
		dockerCLI(t, "rm", "-f", g.Status.Container.ID)
		m.await("chess-0", "another container", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Restarts == 2 })
		require.Equal(t, pulled, registry.Pulls())
	})
	t.Run("a tag that moves is noticed, and moves no game", func(t *testing.T) {
		pulled := registry.Pulls()
		before := m.read("chess-1").Status.Container
		require.Equal(t, ref, publish(t, registry, "galaxy/chess:1.0.0"))
		always := func(s *v1alpha1.GameRuntimeSpec) { s.ImagePullPolicy = v1alpha1.PullAlways }
		declare(ref, always, "fresh")
		fresh := m.awaitReady("fresh").Status.Container
		require.Equal(t, pulled+1, registry.Pulls())
		require.NotEqual(t, before.ImageDigest, fresh.ImageDigest)
		require.NotEqual(t, before.RepoDigest, fresh.RepoDigest)

		g := m.await("chess-1", "ImageMoved", func(g *v1alpha1.GameRuntime) bool {
			return len(g.Status.Drift) == 1 && g.Status.Drift[0].Kind == v1alpha1.DriftImageMoved
		})
		require.Equal(t, fresh.ImageDigest, g.Status.Drift[0].Desired)
		require.Equal(t, before, g.Status.Container)
		require.True(t, isReady(g))
		require.Empty(t, m.read("fresh").Status.Drift)
	})
	t.Run("Always pulls before each container", func(t *testing.T) {
		pulled := registry.Pulls()
		m.update("fresh", func(s *v1alpha1.GameRuntimeSpec) { s.Env = []v1alpha1.EnvVar{{Name: "X", Value: "1"}} })
		m.awaitReady("fresh")
		require.Equal(t, pulled+1, registry.Pulls())
	})
	require.False(t, meta.IsStatusConditionTrue(m.read("typo").Status.Conditions, v1alpha1.ConditionReady), "and nobody else was disturbed")
}
