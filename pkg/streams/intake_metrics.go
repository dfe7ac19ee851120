package streams

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"

	"galaxy.io/runtime-manager/pkg/command"
)

type intakeMetrics struct {
	received *prometheus.CounterVec
	refused  *prometheus.CounterVec
	answered *prometheus.CounterVec
	missed   *prometheus.CounterVec
	behind   *prometheus.GaugeVec
	open     prometheus.Gauge
	oldest   prometheus.Gauge
}

func newIntakeMetrics() intakeMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "runtime_manager", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "runtime_manager", Name: name, Help: help}
	}
	m := intakeMetrics{
		received: counter("job_entries_received_total", "Entries read from the streams of jobs.", "stream"),
		refused:  counter("job_entries_refused_total", "Entries that are no jobs: what they lack is in their results.", "stream"),
		answered: counter("jobs_answered_total", "Jobs answered, by what they asked for and the code, which is success where there is none.", "type", "code"),
		missed:   counter("job_entries_missed_total", "Entries that went from a stream before anybody read them.", "stream"),
		behind:   prometheus.NewGaugeVec(gauge("job_entries_behind", "Entries of a stream that are not read yet, as the one who reads knows."), []string{"stream"}),
		open:     prometheus.NewGauge(gauge("jobs_open", "Jobs without a result.")),
		oldest:   prometheus.NewGauge(gauge("jobs_open_oldest_seconds", "Time since the oldest job without a result was read.")),
	}
	for _, stream := range jobStreams {
		m.received.WithLabelValues(stream)
		m.refused.WithLabelValues(stream)
		m.missed.WithLabelValues(stream)
	}
	return m
}

// Collectors are the intake's metrics, for a registry.
func (i *Intake) Collectors() []prometheus.Collector {
	m := i.metrics
	return []prometheus.Collector{m.received, m.refused, m.answered, m.missed, m.behind, m.open, m.oldest}
}

// count notes the answer to a job.
func (m intakeMetrics) count(verb string, result command.Result) {
	m.answered.WithLabelValues(verb, cmp.Or(result.ErrorCode, string(result.Outcome))).Inc()
}
