package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/plan"
)

// shelf holds records as an informer's cache does, and takes status writes.
type shelf struct {
	client.WithWatch
	all    v1alpha1.GameRuntimeList
	byName map[client.ObjectKey]*v1alpha1.GameRuntime
	writes atomic.Int64
}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	record, ok := into.(*v1alpha1.GameRuntime)
	if !ok || s.byName[key] == nil {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	s.byName[key].DeepCopyInto(record)
	return nil
}

func (s *shelf) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	if list, ok := into.(*v1alpha1.GameRuntimeList); ok {
		*list = s.all
	}
	return nil
}

func (s *shelf) Status() client.SubResourceWriter { return statusWriter{s: s} }

type statusWriter struct {
	client.SubResourceWriter
	s *shelf
}

func (w statusWriter) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	w.s.writes.Add(1)
	return nil
}

// stock fills an engine and a shelf with games that are as they should be.
func stock(b *testing.B, sim *enginetest.Sim, root string, games int) *shelf {
	ctx := context.Background()
	settings := plan.Settings{Installation: "0123456789", Network: "galaxy.01234567", StateRoot: root, User: fmt.Sprint(os.Getuid())}
	require.NoError(b, sim.EnsureNetwork(ctx, settings.Network, settings.Installation))
	info, err := sim.Info(ctx)
	require.NoError(b, err)
	s := &shelf{byName: map[client.ObjectKey]*v1alpha1.GameRuntime{}}
	s.all.Items = make([]v1alpha1.GameRuntime, games)
	for i := range games {
		record := declared(named(i))
		record.Finalizers = []string{v1alpha1.FinalizerEngine}
		require.NoError(b, os.MkdirAll(plan.StateDir(root, named(i)), 0o700))
		id, err := sim.Create(ctx, plan.ContainerSpec(record, settings))
		require.NoError(b, err)
		require.NoError(b, sim.Start(ctx, id))
		c, err := sim.Inspect(ctx, id)
		require.NoError(b, err)
		in := plan.Input{
			Record: record, View: engine.View{Seen: true, Containers: []engine.Container{c}},
			Fleet: engine.Fleet{Reachable: true, Since: time.Now(), Info: info}, Settings: settings, Now: time.Now(),
		}
		record.Status = plan.Status(in, plan.For(in))
		s.all.Items[i] = *record
		s.byName[client.ObjectKey(named(i))] = &s.all.Items[i]
	}
	return s
}

// BenchmarkScale is the loop and the mirror alone, from the first list to the
// last game that was found in sync. pkg/app measures the same with the API.
func BenchmarkScale(b *testing.B) {
	for _, games := range []int{1_000, 10_000, 50_000, 100_000} {
		b.Run(fmt.Sprintf("containers=%d", games), func(b *testing.B) { scale(b, games) })
	}
}

func scale(b *testing.B, games int) {
	sim, root := enginetest.NewSim(image), filepath.Join(b.TempDir(), "games")
	records := stock(b, sim, root, games)
	calls := sim.Calls("Inspect") + sim.Calls("List")
	heap := heapMB()
	b.ResetTimer()
	for range b.N {
		c := &crowd{feeds: &sources{}, world: &world{t: b, sim: sim}}
		begin := time.Now()
		c.boot(parts{records: records, engine: sim, rows: journal.InMemory(), clock: clock.RealClock{}, root: root, wire: c.feed})
		b.ReportMetric(time.Since(begin).Seconds(), "seen-s")
		var looked atomic.Int64
		all := make(chan struct{})
		runQueue(b, c.feeds, workers, reconcile.Func(func(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
			defer func() {
				if looked.Add(1) == int64(games) {
					close(all)
				}
			}()
			return c.Reconcile(ctx, request)
		}))
		c.feeds.engineChanged(engine.Fleet{})
		<-all
		b.ReportMetric(time.Since(begin).Seconds(), "in-sync-s")
		b.ReportMetric(heapMB()-heap, "heap-MB")
		b.Cleanup(func() { c.halt() })
	}
	b.ReportMetric(float64(sim.Calls("Inspect")+sim.Calls("List")-calls)/float64(b.N), "calls")
	b.ReportMetric(float64(records.writes.Load()), "writes")
}

func heapMB() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) / (1 << 20)
}
