package journal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	commits  *prometheus.HistogramVec
	failures *prometheus.CounterVec
	lost     prometheus.Counter
	waiting  prometheus.GaugeFunc
}

// What a transaction writes.
const (
	ofOperations = "operations"
	ofHealth     = "health"
)

func newMetrics(j *Journal) metrics {
	const namespace = "runtime_manager"
	m := metrics{
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "journal_commit_duration_seconds", Help: "How long transactions of the journal took, by what they wrote.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"of"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "journal_commit_failures_total", Help: "Transactions of the journal that failed, by what they were to write.",
		}, []string{"of"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "health_events_lost_total", Help: "Health events dropped as too many waited for the database.",
		}),
		waiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "journal_waiting", Help: "Intents, outcomes and health snapshots that wait to be written.",
		}, func() float64 {
			j.mu.Lock()
			defer j.mu.Unlock()
			return float64(len(j.begun) + len(j.finished) + len(j.untold))
		}),
	}
	for _, of := range []string{ofOperations, ofHealth} {
		m.commits.WithLabelValues(of)
		m.failures.WithLabelValues(of)
	}
	return m
}

func (m metrics) committed(of string, began time.Time, err error) {
	if err != nil {
		m.failures.WithLabelValues(of).Inc()
		return
	}
	m.commits.WithLabelValues(of).Observe(time.Since(began).Seconds())
}

// Collectors are the journal's metrics, for a registry.
func (j *Journal) Collectors() []prometheus.Collector {
	m := j.metrics
	return []prometheus.Collector{m.commits, m.failures, m.lost, m.waiting}
}
