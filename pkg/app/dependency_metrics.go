package app

import (
	"context"
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/healthz"

	"galaxy.io/runtime-manager/pkg/apiserver"
)

// dependencyMetrics ask after dependencies, as /readyz does, at each scrape.
type dependencyMetrics struct{ apiserver.Dependencies }

var dependencyUp = prometheus.NewDesc("runtime_manager_dependency_up",
	"1 while what the manager depends on is well; it is not ready without what is needed.", []string{"dependency", "needed"}, nil)

// Describe is for the registry.
func (d dependencyMetrics) Describe(descs chan<- *prometheus.Desc) { descs <- dependencyUp }

// Collect asks all at once: each may take its time.
func (d dependencyMetrics) Collect(metrics chan<- prometheus.Metric) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "/readyz", nil)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(dependencyUp, err)
		return
	}
	var asking sync.WaitGroup
	ask := func(checks []healthz.HealthChecker, needed bool) {
		for _, check := range checks {
			asking.Go(func() {
				up := 1.0
				if check.Check(request) != nil {
					up = 0
				}
				metrics <- prometheus.MustNewConstMetric(dependencyUp, prometheus.GaugeValue, up, check.Name(), strconv.FormatBool(needed))
			})
		}
	}
	ask(d.Needed, true)
	ask(d.Used, false)
	asking.Wait()
}
