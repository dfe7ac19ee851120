//go:build integration

package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine/docker"
	"galaxy.io/runtime-manager/pkg/plan"
)

const inDefault = client.InNamespace("default")

// bulk is how many games the benchmark starts at once.
const bulk = 60

// BenchmarkBulkStart measures how long bulk records take from the first apply
// until all are Ready, and what the same containers take when created and
// started straight over the Docker API at its best concurrency: the floor. Both
// are taken in turns in one run, and the best of each is compared.
func BenchmarkBulkStart(b *testing.B) {
	m := startManager(b, nil)
	for range b.N {
		var floors, ours []time.Duration
		requests, inspects := gauge("rest_client_requests_total", ""), gauge("runtime_manager_engine_inspects_total", "")
		for _, concurrency := range []int{2, 4, 8, 16} {
			floors = append(floors, startStraight(b, m, concurrency))
			b.Logf("floor, %2d at once: %v", concurrency, floors[len(floors)-1].Round(time.Millisecond))
			ours = append(ours, startByRecords(b, m, bulk))
			b.Logf("records → Ready:   %v", ours[len(ours)-1].Round(time.Millisecond))
		}
		floor, our := best(floors), best(ours)
		b.ReportMetric(floor.Seconds(), "floor-s")
		b.ReportMetric(our.Seconds(), "ours-s")
		b.ReportMetric(our.Seconds()/floor.Seconds(), "ratio")
		games := float64(bulk * len(ours)) // started, and removed again
		b.ReportMetric((gauge("rest_client_requests_total", "")-requests)/games, "requests/game")
		b.ReportMetric((gauge("runtime_manager_engine_inspects_total", "")-inspects)/games, "inspects/game")
	}
}

func best(times []time.Duration) time.Duration {
	shortest := times[0]
	for _, t := range times {
		shortest = min(shortest, t)
	}
	return shortest
}

func bulkGame(i int) *v1alpha1.GameRuntime {
	g := game(fmt.Sprintf("bulk-%d", i))
	g.Spec.Probes = v1alpha1.Probes{} // the floor has none either
	g.Spec.Ports = nil
	return g
}

// startByRecords applies records until all are Ready, and takes them away again.
func startByRecords(b *testing.B, m *manager, count int) time.Duration {
	took := applyBulk(b, m, count)
	ctx := context.Background()
	require.NoError(b, m.DeleteAllOf(ctx, &v1alpha1.GameRuntime{}, inDefault))
	m.eventually("all records are gone", func() bool {
		var all v1alpha1.GameRuntimeList
		return m.List(ctx, &all) == nil && len(all.Items) == 0
	})
	return took
}

func applyBulk(b *testing.B, m *manager, count int) time.Duration {
	ctx := context.Background()
	watch, err := m.Watch(ctx, &v1alpha1.GameRuntimeList{}, inDefault)
	require.NoError(b, err)
	defer watch.Stop()

	begin := time.Now()
	applies, _ := errgroup.WithContext(ctx)
	applies.SetLimit(8)
	for i := range count {
		applies.Go(func() error { return m.Create(ctx, bulkGame(i)) })
	}
	require.NoError(b, applies.Wait())
	ready := map[string]bool{}
	for event := range watch.ResultChan() {
		g, ok := event.Object.(*v1alpha1.GameRuntime)
		if ok && strings.HasPrefix(g.Name, "bulk-") && meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionReady) {
			ready[g.Name] = true
		}
		if len(ready) == count {
			break
		}
	}
	took := time.Since(begin)
	require.Len(b, ready, count)
	return took
}

// startStraight makes the very containers that the records would make, under
// another installation's labels.
func startStraight(b *testing.B, m *manager, concurrency int) time.Duration {
	ctx := context.Background()
	engine, err := docker.New(docker.Options{})
	require.NoError(b, err)
	defer engine.Close()
	settings := straight(b, m, engine)

	ids := make([]string, bulk)
	starts, _ := errgroup.WithContext(ctx)
	starts.SetLimit(concurrency)
	begin := time.Now()
	for i := range bulk {
		starts.Go(func() error {
			id, err := createStraight(ctx, engine, settings, bulkGame(i))
			if err != nil {
				return err
			}
			ids[i] = id
			return engine.Start(ctx, id)
		})
	}
	require.NoError(b, starts.Wait())
	took := time.Since(begin)

	removals, _ := errgroup.WithContext(ctx)
	removals.SetLimit(8)
	for _, id := range ids {
		removals.Go(func() error { return engine.Remove(ctx, id) })
	}
	require.NoError(b, removals.Wait())
	return took
}

// straight are settings for containers on a manager's network that are not its own.
func straight(b *testing.B, m *manager, engine *docker.Client) plan.Settings {
	settings := plan.Settings{
		Installation: uuid.NewString(), Network: plan.NetworkName(m.installation()), StateRoot: b.TempDir(),
	}
	require.NoError(b, engine.EnsureNetwork(context.Background(), settings.Network, m.installation()))
	return settings
}

// createStraight makes the container that the API server's defaults and the
// manager would make of a record.
func createStraight(ctx context.Context, engine *docker.Client, settings plan.Settings, g *v1alpha1.GameRuntime) (string, error) {
	g.UID = types.UID(uuid.NewString())
	g.Spec.Storage.MountPath = "/var/lib/galaxy-game"
	g.Spec.Resources.Pids = 512
	if err := os.MkdirAll(plan.StateDir(settings.StateRoot, plan.GameOf(g)), 0o700); err != nil {
		return "", err
	}
	return engine.Create(ctx, plan.ContainerSpec(g, settings))
}
