package mirror

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	eventsMissed    prometheus.Counter
	reconnects      prometheus.Counter
	lists           prometheus.Counter
	inspects        prometheus.Counter
	inspectTimeouts prometheus.Counter
	quarantined     prometheus.Gauge
}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "runtime_manager", Name: name, Help: help})
	}
	return metrics{
		eventsMissed:    counter("events_missed_total", "Changes of containers that a list found and no event announced."),
		reconnects:      counter("event_stream_reconnects_total", "Event streams of the engine that ended."),
		lists:           counter("engine_lists_total", "Lists of all containers asked of the engine."),
		inspects:        counter("engine_inspects_total", "Inspects of one container asked of the engine."),
		inspectTimeouts: counter("engine_inspect_timeouts_total", "Inspects that the engine did not answer in time."),
		quarantined: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "runtime_manager", Name: "containers_quarantined", Help: "Containers that the engine does not answer for.",
		}),
	}
}

// Collectors are the mirror's metrics, for a registry.
func (m *Mirror) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.metrics.eventsMissed, m.metrics.reconnects, m.metrics.lists, m.metrics.inspects, m.metrics.inspectTimeouts,
		m.metrics.quarantined,
	}
}
