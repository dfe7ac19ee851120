package rest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/tracing/tracingtest"
)

// A request is a span of its caller's trace, and what it writes says so.
func TestRequestsAreTraced(t *testing.T) {
	traces := tracingtest.New(1)
	t.Cleanup(traces.Close)
	b := newBench(t).replica(func(o *Options) { o.Traces = traces.Traces })
	b.do("POST", "/runtimes/chess/start", body(`{"image":"`+image+`"}`), with("Traceparent", tracingtest.Parent)).is(t, http.StatusAccepted, "")
	b.do("POST", "/runtimes/nobody/stop").is(t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.stop()

	spans := traces.Spans()
	require.Len(t, spans, 2)
	start, stop := spans[0], spans[1]
	require.Equal(t, "POST /api/v1/internal/runtimes/{game}/start", start.Name)
	require.Equal(t, tracingtest.Trace, start.SpanContext.TraceID().String())
	require.Contains(t, start.Attributes, attribute.String("game", "chess"))
	require.Contains(t, start.Attributes, attribute.String("caller", "lobby"))
	require.Contains(t, start.Attributes, attribute.Int("http.response.status_code", http.StatusAccepted))
	require.False(t, stop.Parent.IsValid())
	record, err := command.New(b.client, b.namespace).Get(t.Context(), "chess")
	require.NoError(t, err)
	require.Equal(t, "00-"+tracingtest.Trace+"-"+start.SpanContext.SpanID().String()+"-01", record.Traceparent())
}
