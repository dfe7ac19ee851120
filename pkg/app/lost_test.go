//go:build integration

package app

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// metric reads one of the manager's own, by its full name.
func metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	require.FailNow(t, "no such metric", name)
	return 0
}

func restartedTo(count int32) func(*v1alpha1.GameRuntime) bool {
	return func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Restarts == count }
}

// TestWhatNoEventTold does things behind the manager's back of which the engine's
// event stream says nothing, and then takes many containers away at once.
func TestWhatNoEventTold(t *testing.T) {
	proxy := startProxy(t)
	m := startManager(t, func(c *Config) { c.DockerHost, c.Resync = "unix://"+proxy.path, time.Second })
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("game-", i))
		m.create(game(names[i]))
	}
	ids := map[string]string{}
	for _, name := range names {
		ids[name] = m.awaitReady(name).Status.Container.ID
	}

	t.Run("events are lost", func(t *testing.T) {
		missed := metric(t, "runtime_manager_events_missed_total")
		proxy.swallowEvents(true)
		dockerCLI(t, "kill", ids["game-0"], ids["game-1"])
		dockerCLI(t, "stop", ids["game-2"])
		dockerCLI(t, "rm", "-f", ids["game-3"])
		for _, name := range names[:4] {
			m.await(name, "a restart", restartedTo(1))
			require.Len(t, m.containers(name), 1, name)
		}
		require.GreaterOrEqual(t, metric(t, "runtime_manager_events_missed_total"), missed+4)
		require.Equal(t, ids["game-0"], m.read("game-0").Status.Container.ID)
		require.NotEqual(t, ids["game-3"], m.read("game-3").Status.Container.ID)
		proxy.swallowEvents(false)
		dockerCLI(t, "kill", ids["game-4"])
		m.await("game-4", "a restart", restartedTo(1))
		require.Zero(t, m.read("game-5").Status.Restarts)
	})
	t.Run("60 % vanish at once: recreation is frozen", func(t *testing.T) {
		proxy.cut()
		gone := names[4:]
		for _, name := range gone {
			dockerCLI(t, "rm", "-f", m.read(name).Status.Container.ID)
		}
		proxy.mend()
		for _, name := range gone {
			m.await(name, "a game that waits", func(g *v1alpha1.GameRuntime) bool {
				return g.Status.Pending != nil && g.Status.Pending.Reason == v1alpha1.ReasonMassVanish
			})
		}
		require.Equal(t, 1.0, metric(t, "runtime_manager_recreation_frozen"))
		m.create(game("new"))
		m.awaitReady("new")
		dockerCLI(t, "kill", ids["game-0"])
		m.await("game-0", "a restart", restartedTo(2))
		for _, name := range gone {
			require.Empty(t, m.containers(name))
		}

		since := regexp.MustCompile(`approve-recreation=(\S+)`).FindStringSubmatch(m.read(gone[0]).Status.Pending.Message)
		require.Len(t, since, 2)
		require.NoError(t, m.Create(context.Background(), &v1alpha1.DriftReport{ObjectMeta: metav1.ObjectMeta{
			Name: "approval", Annotations: map[string]string{v1alpha1.AnnotationApproveRecreation: since[1]},
		}}))
		for _, name := range gone {
			m.awaitReady(name)
			require.Len(t, m.containers(name), 1, name)
		}
		require.Zero(t, metric(t, "runtime_manager_recreation_frozen"))
	})
}
