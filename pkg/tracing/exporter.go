package tracing

import (
	"context"
	"sync"

	"github.com/go-logr/logr"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// calmExporter tells once that spans cannot be delivered, and once that they can
// again. Those of a batch that was not taken are lost.
type calmExporter struct {
	sdktrace.SpanExporter
	endpoint string
	log      logr.Logger

	mu      sync.Mutex
	failing bool
}

// ExportSpans implements sdktrace.SpanExporter. It never fails.
func (e *calmExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch failed := err != nil; {
	case failed && !e.failing:
		e.log.Info("traces cannot be delivered, and are lost", "endpoint", e.endpoint, "reason", err.Error())
	case !failed && e.failing:
		e.log.Info("traces are delivered again", "endpoint", e.endpoint)
	}
	e.failing = err != nil
	return nil
}
