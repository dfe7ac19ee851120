package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/version"
)

// telemetryTimeout bounds the reading of a request, and the answer.
const telemetryTimeout = 30 * time.Second

// serveTelemetry serves metrics and health from now on, when nothing else is there
// yet, until what it returns is called, when nothing else is there any more.
func (a *App) serveTelemetry(ctx context.Context) (stop func()) {
	if a.telemetry == nil {
		return func() {}
	}
	log := a.log.WithName("telemetry")
	server := &http.Server{
		Handler: a.telemetryHandler(ctx), ReadTimeout: telemetryTimeout, WriteTimeout: telemetryTimeout,
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(log), slog.LevelDebug), // what callers did wrong
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := a.serveOn(server, a.telemetry); !errors.Is(err, http.ErrServerClosed) {
			log.Error(err, "serving metrics ended")
		}
	}()
	return func() {
		_ = server.Close() // a scrape is not worth a wait
		<-served
	}
}

// telemetryHandler serves /metrics, /livez and /readyz.
func (a *App) telemetryHandler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(allMetrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	dependencies := a.allDependencies(ctx)
	if err := controllers.Register(append(a.processMetrics(), dependencyMetrics{dependencies})); err != nil {
		a.log.Error(err, "telling of the process as metrics")
	}
	mux.Handle("/", dependencies.Handler())
	return mux
}

// processMetrics are of this process as such.
func (a *App) processMetrics() []prometheus.Collector {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "runtime_manager", Name: "build_info", Help: "Always 1; the labels tell the build.",
		ConstLabels: prometheus.Labels{"version": a.config.Version, "goversion": runtime.Version(), "commit": version.Commit()},
	})
	build.Set(1)
	return []prometheus.Collector{build, apiserver.CertificateMetrics(a.config.DataDir)}
}

// allMetrics are ours and controller-runtime's, which share a registry, and those
// of the API server's libraries, which have another. Both have the process's.
var allMetrics = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
	families, err := metrics.Registry.Gather()
	known := make(map[string]bool, len(families))
	for _, family := range families {
		known[family.GetName()] = true
	}
	more, errMore := legacyregistry.DefaultGatherer.Gather()
	for _, family := range more {
		if !known[family.GetName()] {
			families = append(families, family)
		}
	}
	return families, errors.Join(err, errMore)
})
