// Package tracingtest keeps the spans of a test in memory.
package tracingtest

import (
	"context"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"galaxy.io/runtime-manager/pkg/tracing"
)

// Parent is a traceparent that its caller keeps, of the trace Trace.
const (
	Trace  = "0af7651916cd43dd8448eb211c80319c"
	Parent = "00-" + Trace + "-b7ad6b7169203331-01"
)

// Recorder keeps all spans that are made with its traces.
type Recorder struct {
	*tracing.Traces
	kept *tracetest.InMemoryExporter
}

// New keeps this share of the traces that begin here.
func New(ratio float64) *Recorder {
	kept := tracetest.NewInMemoryExporter()
	return &Recorder{tracing.To(lasting{kept}, tracing.Options{Ratio: ratio, Log: logr.Discard()}), kept}
}

// Spans ends the traces, and returns the spans that ended by then.
func (r *Recorder) Spans() tracetest.SpanStubs {
	r.Close()
	return r.kept.GetSpans()
}

// lasting is a memory that outlives the traces.
type lasting struct{ *tracetest.InMemoryExporter }

func (lasting) Shutdown(context.Context) error { return nil }
