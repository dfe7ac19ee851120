//go:build integration

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/postgres"
)

// BenchmarkScale measures a manager that starts where everything is as it
// should be, on the simulated engine: how long until every record was compared
// with its container, what it asked of the engine and wrote for that, what it
// holds in memory, and how long a game that dies then is down.
func BenchmarkScale(b *testing.B) {
	for _, games := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("records=%d", games), func(b *testing.B) {
			for range b.N {
				scale(b, games)
			}
		})
	}
}

func scale(b *testing.B, games int) {
	sim := enginetest.NewSim(demoImage)
	config, err := testConfig(b, nil).complete()
	require.NoError(b, err)
	seeded := seed(b, config, sim, games, nil)
	calls := engineCalls(sim)
	heap := heapMB()
	debug.FreeOSMemory() // what the seeding took

	begin, processor, looked, left := time.Now(), processorTime(), looks(), queued()
	m := startOn(b, config, sim)
	b.ReportMetric(time.Since(begin).Seconds(), "api-up-s")
	m.eventually("the loop is idle", func() bool { // what the seeding manager left in its queue is still counted
		loop := m.app.loop.Load()
		return loop != nil && loop.Mirror.Fleet().Reachable && looks()-looked >= float64(games) && queued() <= left
	})
	b.ReportMetric(time.Since(begin).Seconds(), "in-sync-s")
	b.ReportMetric((processorTime() - processor).Seconds(), "cpu-s")
	b.ReportMetric(heapMB()-heap, "heap-MB")
	b.ReportMetric(residentMB("VmRSS:"), "rss-MB")
	b.Logf("%d records, engine calls: %v", games, since(calls, engineCalls(sim)))
	b.ReportMetric(float64(writesSince(b, m, seeded)), "writes")
	times := healOnSim(b, sim, names("game", 30)...)
	b.ReportMetric(milliseconds(quantile(times, 0.5)), "heal-p50-ms")
	m.stop()
}

// startOn runs a manager on another engine than Docker. It is for its caller to
// stop: nothing is taken down.
func startOn(b testing.TB, config Config, e engine.Engine) *manager {
	app, err := newApp(config, logr.Discard(), e)
	require.NoError(b, err)
	m := run(b, app)
	b.Cleanup(func() { m.stop() })
	return m
}

// seed puts games into the engine and the database, as a manager would have left
// them, and returns the database's revision. change, if it is not nil, changes
// what each game is like, in what an engine does not show.
func seed(b *testing.B, config Config, sim *enginetest.Sim, games int, change func(*v1alpha1.GameRuntime)) (revision int64) {
	m := startOn(b, config, sim)
	template := game("template")
	template.Spec.Probes, template.Spec.Ports = v1alpha1.Probes{}, nil
	template.Spec.Backoff.Initial = metav1.Duration{Duration: time.Millisecond}
	m.create(template)
	template = m.awaitReady("template")
	settings := plan.Settings{
		Installation: m.installation(), Network: plan.NetworkName(m.installation()),
		StateRoot: config.StateRoot, User: gameUser(),
	}
	m.stop()
	if change != nil {
		change(template)
	}

	ctx := context.Background()
	url := config.DatabaseURL
	if url == "" {
		server, err := postgres.StartEmbedded(ctx, postgres.EmbeddedOptions{Dir: filepath.Join(config.DataDir, "postgres"), Log: logr.Discard()})
		require.NoError(b, err)
		defer func() { require.NoError(b, server.Stop(ctx)) }()
		url = server.URL()
	}
	pool, err := postgres.Open(ctx, url)
	require.NoError(b, err)
	defer pool.Close()
	keys, texts := make([]string, games-1), make([]string, games-1)
	for i := range keys {
		record := settled(b, sim, template, fmt.Sprintf("game-%d", i), settings)
		text, err := json.Marshal(record)
		require.NoError(b, err)
		keys[i], texts[i] = "/gameruntimes.runtime.galaxy.io/default/"+record.Name, string(text)
	}
	const insert = `SELECT max((write_object(key, convert_to(text, 'UTF8'), text::jsonb, 0, 0)).new_revision)
		FROM unnest($1::text[], $2::text[]) AS seed (key, text)`
	require.NoError(b, pool.QueryRow(ctx, insert, keys, texts).Scan(&revision))
	return revision
}

// settled makes a container in the engine, and its record as it is once nothing
// is left to do.
func settled(b *testing.B, sim *enginetest.Sim, template *v1alpha1.GameRuntime, name string, settings plan.Settings) *v1alpha1.GameRuntime {
	ctx := context.Background()
	record := template.DeepCopy()
	record.Name, record.UID, record.ResourceVersion = name, types.UID(uuid.NewString()), ""
	record.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "GameRuntime"}
	record.Status = v1alpha1.GameRuntimeStatus{}
	require.NoError(b, os.MkdirAll(plan.StateDir(settings.StateRoot, plan.GameOf(record)), 0o700))
	id, err := sim.Create(ctx, plan.ContainerSpec(record, settings))
	require.NoError(b, err)
	require.NoError(b, sim.Start(ctx, id))
	c, err := sim.Inspect(ctx, id)
	require.NoError(b, err)
	info, err := sim.Info(ctx)
	require.NoError(b, err)
	in := plan.Input{
		Record: record, View: engine.View{Seen: true, Containers: []engine.Container{c}},
		Fleet: engine.Fleet{Reachable: true, Since: time.Now(), Info: info}, Settings: settings, Now: time.Now(),
	}
	if record.Spec.Probes.Readiness != nil {
		since := metav1.NowMicro()
		in.Health = []v1alpha1.ProbeStatus{{Probe: v1alpha1.ProbeReadiness, Verdict: v1alpha1.VerdictSucceeding, Since: &since}}
	}
	p := plan.For(in)
	require.True(b, p.InSync(), "%v", p.Actions)
	record.Status = plan.Status(in, p)
	return record
}

// looks is how often any game was looked at.
func looks() float64 { return gauge("controller_runtime_reconcile_total", "gameruntime") }

func queued() float64 { return gauge("workqueue_depth", "gameruntime") }

// gauge sums a metric over those of its series that have a label of this value,
// and over all if it is empty.
func gauge(name, label string) float64 {
	families, err := metrics.Registry.Gather()
	if err != nil {
		panic(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			wanted := label == ""
			for _, l := range m.GetLabel() {
				wanted = wanted || l.GetValue() == label
			}
			if wanted {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// writesSince counts the records that were written after a revision.
func writesSince(b *testing.B, m *manager, revision int64) (written int) {
	var all v1alpha1.GameRuntimeList
	require.NoError(b, m.List(context.Background(), &all, client.InNamespace("default")))
	for i := range all.Items {
		at, err := strconv.ParseInt(all.Items[i].ResourceVersion, 10, 64)
		require.NoError(b, err)
		if at > revision {
			written++
		}
	}
	return written
}

func engineCalls(sim *enginetest.Sim) map[string]int {
	calls := map[string]int{}
	for _, verb := range []string{"Info", "List", "Inspect", "InspectImage", "Events", "EnsureNetwork", "Create", "Start", "Stop", "Remove"} {
		calls[verb] = sim.Calls(verb)
	}
	return calls
}

func since(before, after map[string]int) map[string]int {
	made := map[string]int{}
	for verb, calls := range after {
		if calls > before[verb] {
			made[verb] = calls - before[verb]
		}
	}
	return made
}

// healOnSim kills games one after the other, and measures how long each is down.
func healOnSim(b *testing.B, sim *enginetest.Sim, names ...string) []time.Duration {
	var times []time.Duration
	for _, name := range names {
		game := engine.GameID{Namespace: "default", Name: name}
		require.Len(b, sim.Running(game), 1)
		begin := time.Now()
		sim.Kill(sim.Running(game)[0], enginetest.Ending{Code: 1})
		require.Eventually(b, func() bool { return len(sim.Running(game)) == 1 }, patience, time.Millisecond)
		times = append(times, time.Since(begin))
	}
	return times
}

func names(prefix string, count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return all
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(times []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// processorTime is what this process used so far, which other load on the
// machine changes little.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func heapMB() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) / (1 << 20)
}

// residentMB is a line of what the kernel says of this process: VmRSS is what it
// occupies, RssFile its part that maps files, VmHWM the most that it ever occupied.
func residentMB(line string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for each := range strings.Lines(string(status)) {
		if fields := strings.Fields(each); fields[0] == line {
			kilobytes, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				panic(err)
			}
			return kilobytes / 1024
		}
	}
	panic("no " + line + " in /proc/self/status")
}
