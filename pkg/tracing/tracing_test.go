package tracing_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/tracing"
	"galaxy.io/runtime-manager/pkg/tracing/tracingtest"
)

func TestEndpoints(t *testing.T) {
	for given, want := range map[string]string{
		"collector:4317":          "http://collector:4317",
		"http://127.0.0.1:4317/":  "http://127.0.0.1:4317/",
		"https://otel.example:44": "https://otel.example:44",
	} {
		parsed, err := tracing.ParseEndpoint(given)
		require.NoError(t, err, given)
		require.Equal(t, want, parsed.String())
	}
	for given, wrong := range map[string]string{
		"collector":                  "must name host and port",
		"http://collector":           "must name host and port",
		":4317":                      "must name host and port",
		"grpc://collector:4317":      "must begin with http:// or https://",
		"http://collector:4318/v1/x": "must have nothing but host and port",
		"http://u:secret@host:4317":  "must have nothing but host and port",
		"http://%zz":                 "must be a URL or host:port",
	} {
		_, err := tracing.ParseEndpoint(given)
		require.ErrorContains(t, err, wrong, given)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestOffMakesNothing(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	before := goleak.IgnoreCurrent()
	traces, err := tracing.Open(tracing.Options{Ratio: 1})
	require.NoError(t, err)
	require.Nil(t, traces)
	ctx, span := traces.Start(traces.From(t.Context(), tracingtest.Parent), "anything")
	require.False(t, span.IsRecording())
	require.Empty(t, tracing.Parent(ctx))
	require.Empty(t, tracing.ID(ctx))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, span := traces.Start(ctx, "often")
		span.End()
	}))
	sim := enginetest.NewSim("image:1.0.0")
	require.Same(t, sim, traces.Engine(sim), "nothing is between the loop and the engine")
	goleak.VerifyNone(t, before)
	traces.Close()
}

func TestEnvironmentDoesNotDecideWhatIsKept(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	traces := tracingtest.New(1)
	_, span := traces.Start(t.Context(), "one")
	span.End()
	require.Len(t, traces.Spans(), 1)
}

func TestRatio(t *testing.T) {
	traces := tracingtest.New(0)
	for _, parent := range []string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", tracingtest.Parent, "nonsense"} {
		_, span := traces.Start(traces.From(context.Background(), parent), "parent "+parent)
		span.End()
	}
	spans := traces.Spans()
	require.Len(t, spans, 1, "only what the caller keeps")
	require.Equal(t, tracingtest.Trace, spans[0].SpanContext.TraceID().String())
	require.Equal(t, "b7ad6b7169203331", spans[0].Parent.SpanID().String())
}

func TestTransportCarriesTheSpan(t *testing.T) {
	traces := tracingtest.New(1)
	defer traces.Close()
	heard := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard <- tracing.Parent(traces.FromRequest(r)) }))
	defer server.Close()
	client := http.Client{Transport: traces.Transport(http.DefaultTransport)}
	for _, parent := range []string{"", tracingtest.Parent} {
		request, err := http.NewRequestWithContext(traces.From(t.Context(), parent), http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, parent, <-heard)
		require.Empty(t, request.Header, "the caller's request is as it was")
	}
}

func TestEngineCalls(t *testing.T) {
	traces := tracingtest.New(1)
	traced := traces.Engine(enginetest.NewSim("image:1.0.0"))
	require.Equal(t, engine.NotFound, engine.KindOf(traced.Start(t.Context(), "nobody asked")), "what belongs to nothing is no trace")

	ctx, span := traces.Start(t.Context(), "reconcile")
	id, err := traced.Create(ctx, engine.ContainerSpec{Name: "chess", Image: "image:1.0.0", Network: "games"})
	require.NoError(t, err)
	require.Error(t, traced.Start(ctx, "missing"))
	span.End()

	spans := traces.Spans()
	require.Len(t, spans, 3)
	create, start, parent := spans[0], spans[1], spans[2]
	require.Equal(t, "engine Create", create.Name)
	require.Contains(t, create.Attributes, attribute.String("container", id))
	require.Contains(t, create.Attributes, attribute.String("outcome", "Succeeded"))
	require.Equal(t, "engine Start", start.Name)
	require.Contains(t, start.Attributes, attribute.String("outcome", string(engine.NotFound)))
	require.Equal(t, codes.Error, start.Status.Code)
	for _, call := range []tracetest.SpanStub{create, start} {
		require.Equal(t, parent.SpanContext.SpanID(), call.Parent.SpanID())
	}
}

func TestSpansReachACollector(t *testing.T) {
	got := make(chan *collector.ExportTraceServiceRequest, 1)
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, receiver{got: got})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	traces, err := tracing.Open(tracing.Options{Endpoint: listener.Addr().String(), Ratio: 1, Version: "v1", Instance: "one", Log: logr.Discard()})
	require.NoError(t, err)
	_, span := traces.Start(t.Context(), "something")
	span.End()
	traces.Close()
	sent := <-got
	require.Equal(t, "something", sent.ResourceSpans[0].ScopeSpans[0].Spans[0].Name)
	require.Contains(t, sent.ResourceSpans[0].Resource.String(), "runtime-manager")
}

type receiver struct {
	collector.UnimplementedTraceServiceServer
	got chan *collector.ExportTraceServiceRequest
}

func (r receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.got <- request
	return &collector.ExportTraceServiceResponse{}, nil
}

// A collector that takes connections and says nothing.
func TestCollectorThatHangsHoldsNothingUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	traces, err := tracing.Open(tracing.Options{Endpoint: listener.Addr().String(), Ratio: 1, Log: logr.Discard()})
	require.NoError(t, err)
	began := time.Now()
	for range 20_000 { // more than may wait
		_, span := traces.Start(t.Context(), "something")
		span.End()
	}
	require.Less(t, time.Since(began), 5*time.Second, "spans are dropped, and nobody waits")
	began = time.Now()
	traces.Close()
	require.Less(t, time.Since(began), 7*time.Second)
}

func TestEndTellsOfAnError(t *testing.T) {
	traces := tracingtest.New(1)
	ctx, span := traces.Start(t.Context(), "one")
	require.Equal(t, trace.SpanContextFromContext(ctx).TraceID().String(), tracing.ID(ctx))
	tracing.End(span, errors.New("no"))
	require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "no"}, traces.Spans()[0].Status)
}
