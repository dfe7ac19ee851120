package rest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waiting  prometheus.GaugeFunc
}

func newMetrics(waits chan struct{}) metrics {
	const namespace = "runtime_manager"
	return metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "rest_requests_total", Help: "Requests to the internal REST API, by route, method and status.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "rest_request_duration_seconds", Help: "How long requests to the internal REST API took, the wait for an outcome included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"route"}),
		waiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "rest_waiting", Help: "Callers that wait for an outcome.",
		}, func() float64 { return float64(len(waits)) }),
	}
}

// count notes an answer. What callers can choose at will is no label.
func (m metrics) count(r *http.Request, status int, took time.Duration) {
	route, method := strings.TrimPrefix(r.Pattern, root), r.Method
	if route == "" {
		route = "none"
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

// Collectors are the server's metrics, for a registry.
func (s *Server) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.requests, s.metrics.duration, s.metrics.waiting}
}
