package lobby

import "github.com/prometheus/client_golang/prometheus"

// found is the outcome of an attempt that brought a record.
const found = "found"

type metrics struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
	circuit  prometheus.GaugeFunc
}

func newMetrics(circuit *circuit) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "runtime_manager", Name: "lobby_requests_total",
			Help: "Requests to the Lobby by outcome; those of circuit_open were not sent.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "runtime_manager", Name: "lobby_request_duration_seconds",
			Help:    "How long requests to the Lobby took, answered or not.",
			Buckets: prometheus.DefBuckets,
		}),
		circuit: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "runtime_manager", Name: "lobby_circuit_state",
			Help: "Whether the Lobby is asked: 0 yes, 1 once to find out whether it is back, 2 no.",
		}, func() float64 { return float64(circuit.state()) }),
	}
	m.requests.WithLabelValues(found)
	for kind := range kinds {
		m.requests.WithLabelValues(string(kind))
	}
	return m
}

func (m metrics) count(err error) {
	outcome := string(KindOf(err))
	if err == nil {
		outcome = found
	}
	m.requests.WithLabelValues(outcome).Inc()
}

// Collectors are the client's metrics, for a registry.
func (c *Client) Collectors() []prometheus.Collector {
	return []prometheus.Collector{c.metrics.requests, c.metrics.duration, c.metrics.circuit}
}
