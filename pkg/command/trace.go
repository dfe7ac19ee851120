package command

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// traceOf is what a record tells of the trace that its write belongs to; empty where
// nobody keeps that. Our own API server puts its span of the write in its place, a
// cluster's knows of none.
func traceOf(ctx context.Context, generation int64) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carried := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carried)
	return v1alpha1.TraceOf(generation, carried["traceparent"])
}
