package mirror

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events          prometheus.Counter
	eventLag        prometheus.Histogram
	eventsMissed    prometheus.Counter
	reconnects      prometheus.Counter
	lists           prometheus.Counter
	inspects        prometheus.Counter
	inspectTimeouts prometheus.Counter
	listDuration    prometheus.Histogram
	inspectDuration prometheus.Histogram
	quarantined     prometheus.Gauge
	reachable       prometheus.Gauge
}

// engineBuckets fit calls that a quiet engine answers in a millisecond, and a busy
// one in their timeout.
var engineBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "runtime_manager", Name: name, Help: help})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "runtime_manager", Name: name, Help: help, Buckets: engineBuckets})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "runtime_manager", Name: name, Help: help})
	}
	return metrics{
		events:          counter("engine_events_total", "Events of containers that the engine told of."),
		eventLag:        histogram("engine_event_lag_seconds", "Time from an event, by the engine's clock, until its container was inspected."),
		eventsMissed:    counter("events_missed_total", "Changes of containers that a list found and no event announced."),
		reconnects:      counter("event_stream_reconnects_total", "Event streams of the engine that ended."),
		lists:           counter("engine_lists_total", "Lists of all containers asked of the engine."),
		inspects:        counter("engine_inspects_total", "Inspects of one container asked of the engine."),
		inspectTimeouts: counter("engine_inspect_timeouts_total", "Inspects that the engine did not answer in time."),
		listDuration:    histogram("engine_list_duration_seconds", "How long lists of all containers took that the engine answered."),
		inspectDuration: histogram("engine_inspect_duration_seconds", "How long inspects of one container took, answered or not."),
		quarantined:     gauge("containers_quarantined", "Containers that the engine does not answer for."),
		reachable:       gauge("engine_reachable", "1 while the engine answers."),
	}
}

// Collectors are the mirror's metrics, for a registry.
func (m *Mirror) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.metrics.events, m.metrics.eventLag, m.metrics.eventsMissed, m.metrics.reconnects, m.metrics.lists, m.metrics.listDuration,
		m.metrics.inspects, m.metrics.inspectTimeouts, m.metrics.inspectDuration, m.metrics.quarantined, m.metrics.reachable,
	}
}

func (m metrics) tellReachable(reachable bool) {
	value := 0.0
	if reachable {
		value = 1
	}
	m.reachable.Set(value)
}

// announcement is what is known of the events of a container that no inspect has
// followed yet.
type announcement struct {
	after uint64    // the number of the last question before the last of them
	at    time.Time // of the first, by the engine's clock
}

// since is the time that passed, and none where the clocks disagree on the order.
func since(then, now time.Time) float64 { return max(now.Sub(then), 0).Seconds() }
