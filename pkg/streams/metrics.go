package streams

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// written are the streams that are written: the outbox names them, row by row.
var written = []string{JobResults, "runtime:health_events", "notification:intents"}

type metrics struct {
	waiting   prometheus.Gauge
	age       prometheus.GaugeFunc
	published *prometheus.CounterVec
	recalled  *prometheus.CounterVec
	failures  prometheus.Counter
	// oldest is when the oldest message that waits was written; nil if none does.
	oldest *atomic.Pointer[time.Time]
}

func newMetrics() metrics {
	oldest := &atomic.Pointer[time.Time]{}
	byStream := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "runtime_manager", Name: name, Help: help}, []string{"stream"})
	}
	m := metrics{
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "runtime_manager", Name: "outbox_waiting", Help: "Messages that are not published yet, as the leader counted last.",
		}),
		age: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "runtime_manager", Name: "outbox_oldest_seconds", Help: "Age of the oldest message that is not published yet.",
		}, func() float64 {
			if at := oldest.Load(); at != nil {
				return time.Since(*at).Seconds()
			}
			return 0
		}),
		published: byStream("messages_published_total", "Messages added to a stream, those of them included that are there twice."),
		recalled:  byStream("messages_lost_by_redis_total", "Messages that Redis had acknowledged and lost; they are published again."),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "runtime_manager", Name: "relay_failures_total", Help: "Tries to publish messages that failed.",
		}),
		oldest: oldest,
	}
	for _, stream := range written {
		m.published.WithLabelValues(stream)
		m.recalled.WithLabelValues(stream)
	}
	return m
}

func (m metrics) measured(waiting int, oldest time.Duration) {
	m.waiting.Set(float64(waiting))
	if waiting == 0 {
		m.oldest.Store(nil)
		return
	}
	at := time.Now().Add(-oldest)
	m.oldest.Store(&at)
}

// Collectors are the relay's metrics, for a registry.
func (r *Relay) Collectors() []prometheus.Collector {
	m := r.metrics
	return []prometheus.Collector{m.waiting, m.age, m.published, m.recalled, m.failures}
}
