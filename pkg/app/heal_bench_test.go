//go:build integration

package app

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine/docker"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// dockersDelay is how long Docker waits before its first restart. Records of
// these benchmarks wait as long.
const dockersDelay = 100 * time.Millisecond

// BenchmarkHeal kills 30 games under the manager and 30 of the same containers
// under Docker's own --restart=always, in turns, each from the host: Docker
// restarts nothing that was killed over its API. How long each was down is told
// by the engine.
func BenchmarkHeal(b *testing.B) {
	const deaths = 30
	m := startManager(b, nil)
	ours := declareRunning(b, m, "heal", deaths)
	dockers, remove := restartedByDocker(b, m, deaths)
	var our, its []time.Duration
	for i := range deaths {
		our = append(our, downtime(b, ours[i]))
		its = append(its, downtime(b, dockers[i]))
	}
	remove()
	our50, its50 := quantile(our, 0.5), quantile(its, 0.5)
	b.Logf("down, p50/p99: manager %v/%v, Docker %v/%v, a back-off of %v in each",
		our50, quantile(our, 0.99), its50, quantile(its, 0.99), dockersDelay)
	b.ReportMetric(milliseconds(our50), "ours-ms")
	b.ReportMetric(milliseconds(its50), "docker-ms")
	b.ReportMetric(our50.Seconds()/its50.Seconds(), "ratio")
	b.ReportMetric((our50-dockersDelay).Seconds()/(its50-dockersDelay).Seconds(), "ratio-beyond-backoff")
}

// healer is a game that is restarted as soon as Docker would restart it.
func healer(name string) *v1alpha1.GameRuntime {
	g := game(name)
	g.Spec.Probes, g.Spec.Ports = v1alpha1.Probes{}, nil
	g.Spec.Backoff.Initial = metav1.Duration{Duration: dockersDelay}
	return g
}

// declareRunning returns the ids of the containers.
func declareRunning(b *testing.B, m *manager, prefix string, count int) []string {
	ids := make([]string, count)
	for _, name := range names(prefix, count) {
		m.create(healer(name))
	}
	for i, name := range names(prefix, count) {
		ids[i] = m.awaitReady(name).Status.Container.ID
	}
	return ids
}

func restartedByDocker(b *testing.B, m *manager, count int) (ids []string, remove func()) {
	ctx := context.Background()
	engine, err := docker.New(docker.Options{})
	require.NoError(b, err)
	settings := straight(b, m, engine)
	for _, name := range names("dockers", count) {
		id, err := createStraight(ctx, engine, settings, healer(name))
		require.NoError(b, err)
		dockerCLI(b, "update", "--restart=always", id)
		require.NoError(b, engine.Start(ctx, id))
		ids = append(ids, id)
	}
	return ids, func() {
		for _, id := range ids {
			require.NoError(b, engine.Remove(ctx, id))
		}
		require.NoError(b, engine.Close())
	}
}

// downtime kills a container's process and returns for how long it was down, by
// the engine's clock.
func downtime(b *testing.B, id string) time.Duration {
	before := dockerCLI(b, "inspect", "-f", "{{.State.StartedAt}}", id)
	killFromTheHost(b, id)
	var finished, started time.Time
	require.Eventually(b, func() bool {
		var err error
		state := strings.Fields(dockerCLI(b, "inspect", "-f", "{{.State.FinishedAt}} {{.State.StartedAt}} {{.State.Running}}", id))
		finished, err = time.Parse(time.RFC3339Nano, state[0])
		require.NoError(b, err)
		started, err = time.Parse(time.RFC3339Nano, state[1])
		require.NoError(b, err)
		return state[1] != before && state[2] == "true"
	}, patience, 50*time.Millisecond)
	return started.Sub(finished)
}

// BenchmarkConcurrency shows what the flag does: how long a bulk takes, and for
// how long a game that dies meanwhile is down.
func BenchmarkConcurrency(b *testing.B) {
	for _, concurrency := range []int{2, 4, 8, 16, 32} {
		b.Run(fmt.Sprint(concurrency), func(b *testing.B) {
			m := startManager(b, func(c *Config) { c.Concurrency = concurrency })
			ids := declareRunning(b, m, "heal", 10)
			var idle, busy []time.Duration
			for _, id := range ids[:5] {
				idle = append(idle, downtime(b, id))
			}
			took := make(chan time.Duration)
			go func() { took <- applyBulk(b, m, bulk) }()
			for _, id := range ids[5:] {
				busy = append(busy, downtime(b, id))
			}
			b.ReportMetric((<-took).Seconds(), "bulk-s")
			b.ReportMetric(milliseconds(quantile(idle, 0.5)), "idle-p50-ms")
			b.ReportMetric(milliseconds(quantile(busy, 0.5)), "busy-p50-ms")
		})
	}
}

// BenchmarkHealUnderBulk kills games while 1,000 records are applied at once, on
// a simulated engine whose calls take as long as Docker's.
func BenchmarkHealUnderBulk(b *testing.B) {
	const deaths = 50
	sim := enginetest.NewSim(demoImage)
	sim.Inject(enginetest.Fault{Verb: "Create", Delay: 20 * time.Millisecond})
	sim.Inject(enginetest.Fault{Verb: "Start", Delay: 100 * time.Millisecond})
	config, err := testConfig(b, nil).complete()
	require.NoError(b, err)
	m := startOn(b, config, sim)
	declareRunning(b, m, "heal", 2*deaths)
	games := names("heal", 2*deaths)
	idle := healOnSim(b, sim, games[:deaths]...)
	took, processor, requests := make(chan time.Duration), processorTime(), gauge("rest_client_requests_total", "")
	go func() { took <- applyBulk(b, m, 1000) }()
	busy := healOnSim(b, sim, games[deaths:]...)
	select {
	case <-took:
		b.Fatal("the bulk was too short")
	default:
	}
	for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		b.ReportMetric(milliseconds(quantile(idle, q)), "idle-"+name+"-ms")
		b.ReportMetric(milliseconds(quantile(busy, q)), "busy-"+name+"-ms")
		b.ReportMetric(quantile(busy, q).Seconds()/quantile(idle, q).Seconds(), "ratio-"+name)
	}
	b.ReportMetric((<-took).Seconds(), "bulk-s")
	b.ReportMetric(milliseconds(processorTime()-processor)/1000, "cpu-ms/game")
	b.ReportMetric((gauge("rest_client_requests_total", "")-requests)/1000, "requests/game")
}
