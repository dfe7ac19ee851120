package tracing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// exportTimeout bounds the delivery of one batch, its repetitions included, and
	// flushTimeout that of all that is left when the manager stops.
	exportTimeout = 10 * time.Second
	flushTimeout  = 5 * time.Second
	// batchEvery is the longest that an ended span waits to be sent.
	batchEvery = 2 * time.Second
	// maxQueued bounds the spans that wait while the collector is away: what is
	// more is dropped, and nobody waits.
	maxQueued = 4096
	maxBatch  = 512
	// longestText bounds what an attribute holds, in bytes.
	longestText = 1024
)

// Scope names what the spans are made by.
const Scope = "galaxy.io/runtime-manager"

// Options say where spans are sent, and how many.
type Options struct {
	// Endpoint takes OTLP over gRPC: a URL, whose scheme https asks for TLS, or
	// host:port in the clear. Empty turns traces off.
	Endpoint string
	// Ratio is the share of the traces begun here that is kept, from 0 to 1. A trace
	// that somebody else began is kept if they keep it.
	Ratio float64
	// Version is that of this build, Instance names the process among the managers.
	Version, Instance string
	Log               logr.Logger
}

// Traces is where spans go. Nil is off: it makes none, and takes no caller's for its
// parent.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	log      logr.Logger
}

// Open prepares to send spans; it returns nil where that is off. Nobody is connected
// to before there is one.
func Open(o Options) (*Traces, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	endpoint, err := ParseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(endpoint.String()), otlptracegrpc.WithTimeout(exportTimeout)}
	if endpoint.Scheme == "http" { // said, or a certificate of the environment would ask for TLS
		options = append(options, otlptracegrpc.WithTLSCredentials(insecure.NewCredentials()))
	}
	exporter, err := otlptracegrpc.New(context.Background(), options...) // connects later
	if err != nil {
		return nil, fmt.Errorf("preparing to send traces: %w", err)
	}
	return To(exporter, o), nil
}

// To sends spans to any exporter. The endpoint is told in the log, and no more.
func To(exporter sdktrace.SpanExporter, o Options) *Traces {
	// All that the environment could change otherwise is said.
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: longestText, AttributeCountLimit: sdktrace.DefaultAttributeCountLimit,
			EventCountLimit: sdktrace.DefaultEventCountLimit, LinkCountLimit: sdktrace.DefaultLinkCountLimit,
			AttributePerEventCountLimit: sdktrace.DefaultAttributePerEventCountLimit, AttributePerLinkCountLimit: sdktrace.DefaultAttributePerLinkCountLimit,
		}),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "runtime-manager"),
			attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Instance),
		)),
		sdktrace.WithBatcher(&calmExporter{SpanExporter: exporter, endpoint: o.Endpoint, log: o.Log},
			sdktrace.WithBatchTimeout(batchEvery), sdktrace.WithExportTimeout(exportTimeout),
			sdktrace.WithMaxQueueSize(maxQueued), sdktrace.WithMaxExportBatchSize(maxBatch)),
	)
	return &Traces{provider: provider, tracer: provider.Tracer(Scope), log: o.Log}
}

// Start begins a span below the one in the context, or a trace where there is none.
func (t *Traces) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(ctx, name, options...)
}

// Close sends what is left, within five seconds.
func (t *Traces) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Info("the last traces are lost", "reason", err.Error())
	}
}

// ParseEndpoint says what is wrong with an endpoint, or returns its URL.
func ParseEndpoint(endpoint string) (*url.URL, error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("must be a URL or host:port")
	}
	host, port, err := net.SplitHostPort(parsed.Host)
	switch {
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return nil, fmt.Errorf("must begin with http:// or https://, not with %s://", parsed.Scheme)
	case err != nil || host == "" || port == "":
		return nil, errors.New("must name host and port, such as collector.example.com:4317")
	case strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || parsed.User != nil || parsed.Fragment != "":
		return nil, errors.New("must have nothing but host and port: traces are sent by gRPC")
	}
	return parsed, nil
}
