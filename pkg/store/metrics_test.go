package store

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/storage"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// Writes are counted by what came of them, watches as they come and go, and how
// soon watchers see what was written.
func TestMetrics(t *testing.T) {
	b := openBackendOn(t, postgrestest.Schema(t))
	counted := func(outcome string) float64 { return testutil.ToFloat64(b.metrics.writes.WithLabelValues(outcome)) }
	samples := func(h prometheus.Histogram) uint64 {
		var told dto.Metric
		require.NoError(t, h.Write(&told))
		return told.Histogram.GetSampleCount()
	}
	_, err := b.write(context.Background(), write{key: "/counted/a", data: []byte("{}")})
	require.NoError(t, err)
	revision, err := b.write(context.Background(), write{key: "/counted/a", data: []byte("{}")})
	require.NoError(t, err)
	require.Zero(t, revision, "it is there already")
	eventually := func(what string, condition func() bool) {
		t.Helper()
		require.Eventually(t, condition, 30*time.Second, time.Millisecond, what)
	}
	eventually("both are counted", func() bool { return counted("committed") == 1 && counted("outrun") == 1 })
	require.EqualValues(t, 2, samples(b.metrics.commits))
	eventually("the commit is seen", func() bool { return samples(b.metrics.lag) == 1 })

	watching, err := podStore(b).Watch(context.Background(), "/pods", storage.ListOptions{ResourceVersion: "0", Recursive: true, Predicate: storage.Everything})
	require.NoError(t, err)
	eventually("a watcher", func() bool { return testutil.ToFloat64(b.metrics.watchers) == 1 })
	watching.Stop()
	eventually("none", func() bool { return testutil.ToFloat64(b.metrics.watchers) == 0 })
}
