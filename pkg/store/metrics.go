package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	commits    prometheus.Histogram
	failures   prometheus.Counter
	batches    prometheus.Histogram
	writes     *prometheus.CounterVec
	committed  prometheus.Counter
	outrun     prometheus.Counter
	refused    prometheus.Counter
	watchers   prometheus.Gauge
	lag        prometheus.Histogram
	compactTo  prometheus.GaugeFunc
	revisionOf prometheus.GaugeFunc
}

// storeBuckets fit a commit on a quiet disk and one in a crowd.
var storeBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newMetrics(t *tail) metrics {
	const namespace = "runtime_manager"
	gauge := func(name, help string, read func() int64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, func() float64 { return float64(read()) })
	}
	m := metrics{
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "store_commit_duration_seconds", Help: "How long transactions that wrote objects took.", Buckets: storeBuckets,
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "store_commit_failures_total", Help: "Transactions that failed; what they were to write may be tried again.",
		}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "store_batch_size", Help: "Writes that shared a transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "store_writes_total", Help: "Writes by what came of them: committed, outrun by another one, or failed.",
		}, []string{"outcome"}),
		watchers: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "store_watchers", Help: "Watches of the store itself: the watch cache of each resource has one.",
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "store_watch_lag_seconds", Help: "Time from a commit of this process until its watchers could see it.", Buckets: storeBuckets,
		}),
		revisionOf: gauge("store_revision", "The newest revision that watchers have seen everything of.", func() int64 { return t.now().upTo }),
		compactTo:  gauge("store_compacted_revision", "The newest revision whose changes are forgotten.", t.compactedTo),
	}
	m.committed, m.outrun, m.refused = m.writes.WithLabelValues("committed"), m.writes.WithLabelValues("outrun"), m.writes.WithLabelValues("failed")
	return m
}

// done counts the writes of a transaction, and what each has come to.
func (m metrics) done(batch []*pending, took time.Duration) {
	m.commits.Observe(took.Seconds())
	m.batches.Observe(float64(len(batch)))
	for _, p := range batch {
		if p.revision > 0 {
			m.committed.Inc()
		} else {
			m.outrun.Inc()
		}
		m.outrun.Add(float64(len(p.rivals)))
	}
}

// Collectors are the store's metrics, for a registry.
func (b *Backend) Collectors() []prometheus.Collector {
	m := b.metrics
	return []prometheus.Collector{m.commits, m.failures, m.batches, m.writes, m.watchers, m.lag, m.revisionOf, m.compactTo}
}
