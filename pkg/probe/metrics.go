package probe

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// metrics are held by kind of probe, so that a check costs no look-up by labels.
type metrics struct {
	checks   *prometheus.CounterVec
	verdicts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	delay    prometheus.Histogram
	of       map[string]kindMetrics
}

type kindMetrics struct {
	succeeded, failed, notMade prometheus.Counter
	duration                   prometheus.Observer
}

var (
	kinds    = []string{v1alpha1.ProbeStartup, v1alpha1.ProbeLiveness, v1alpha1.ProbeReadiness, v1alpha1.ProbeProgress}
	verdicts = []string{v1alpha1.VerdictSucceeding, v1alpha1.VerdictFailing}
)

func newMetrics() metrics {
	const namespace = "runtime_manager"
	m := metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "probe_checks_total", Help: "Checks of games, by probe and result; one not made tells nothing of the game.",
		}, []string{"probe", "result"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "probe_verdict_changes_total", Help: "Verdicts on games that changed, by probe and the new one.",
		}, []string{"probe", "verdict"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "probe_duration_seconds", Help: "How long checks took.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"probe"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "probe_delay_seconds", Help: "How long after it was due a check began.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		of: map[string]kindMetrics{},
	}
	for _, kind := range kinds {
		m.of[kind] = kindMetrics{
			succeeded: m.checks.WithLabelValues(kind, "succeeded"), failed: m.checks.WithLabelValues(kind, "failed"),
			notMade: m.checks.WithLabelValues(kind, "not_made"), duration: m.duration.WithLabelValues(kind),
		}
		for _, verdict := range verdicts {
			m.verdicts.WithLabelValues(kind, verdict)
		}
	}
	return m
}

func (m metrics) checked(kind string, took time.Duration, a answer) {
	of := m.of[kind]
	of.duration.Observe(took.Seconds())
	switch {
	case a.err == nil:
		of.succeeded.Inc()
	case errors.Is(a.err, ErrNotMade):
		of.notMade.Inc()
	default:
		of.failed.Inc()
	}
}

// Collectors are the prober's metrics, for a registry.
func (p *Prober) Collectors() []prometheus.Collector {
	m := p.metrics
	return []prometheus.Collector{m.checks, m.verdicts, m.duration, m.delay}
}
