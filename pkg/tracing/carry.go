package tracing

import (
	"context"
	"net/http"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// carrier is W3C Trace Context: https://www.w3.org/TR/trace-context/
var carrier propagation.TraceContext

const header = "traceparent"

// From returns a context whose spans belong to the one that a traceparent names. One
// that is not well-formed is none.
func (t *Traces) From(ctx context.Context, traceparent string) context.Context {
	if t == nil || traceparent == "" {
		return ctx
	}
	return carrier.Extract(ctx, propagation.MapCarrier{header: traceparent})
}

// FromRequest is From for the headers of a request.
func (t *Traces) FromRequest(r *http.Request) context.Context {
	if t == nil {
		return r.Context()
	}
	return carrier.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
}

// Parent returns the traceparent of a context's span; empty where nobody keeps it.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	into := propagation.MapCarrier{}
	carrier.Inject(ctx, into)
	return into[header]
}

// ID returns the id of the trace that a context belongs to; empty where nobody keeps
// it.
func ID(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		return span.TraceID().String()
	}
	return ""
}

// End ends a span with what came of it.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Transport has requests tell which span they belong to.
func (t *Traces) Transport(next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return transport{next}
}

type transport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace.SpanContextFromContext(r.Context()).IsValid() {
		r = r.Clone(r.Context()) // a caller's request is not ours to change
		carrier.Inject(r.Context(), propagation.HeaderCarrier(r.Header))
	}
	return t.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find what is below.
func (t transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// Log is a log whose lines name the trace that a context belongs to, if anybody keeps it.
func Log(ctx context.Context, log logr.Logger) logr.Logger {
	if id := ID(ctx); id != "" {
		return log.WithValues("trace", id)
	}
	return log
}
