//go:build integration

package app

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// collected is a collector of traces in this process.
type collected struct {
	collector.UnimplementedTraceServiceServer
	address string
	mu      sync.Mutex
	spans   []*tracev1.Span
}

func newCollector(t *testing.T) *collected {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c, server := &collected{address: listener.Addr().String()}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return c
}

func (c *collected) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// of are the spans of one trace.
func (c *collected) of(trace string) (spans spans) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == trace {
			spans = append(spans, s)
		}
	}
	return spans
}

type spans []*tracev1.Span

// below are the names of what belongs to a span, directly or not.
func (s spans) below(parent *tracev1.Span) (names []string) {
	for _, span := range s {
		if slices.Equal(span.ParentSpanId, parent.SpanId) {
			names = append(append(names, span.Name), s.below(span)...)
		}
	}
	return names
}

// asked is the only span right below the caller's, and has this name.
func (s spans) asked(t *testing.T, name string) *tracev1.Span {
	t.Helper()
	found := slices.DeleteFunc(slices.Clone(s), func(span *tracev1.Span) bool { return hex.EncodeToString(span.ParentSpanId) != callersSpan })
	require.Len(t, found, 1)
	require.Equal(t, name, found[0].Name)
	return found[0]
}

const callersSpan = "b7ad6b7169203331"

// traceparent is that of a caller's span in a trace.
func traceparent(trace string) string { return "00-" + trace + "-" + callersSpan + "-01" }

// in has requests say that they belong to a trace.
func in(trace string, next http.RoundTripper) http.RoundTripper {
	return saying{traceparent(trace), next}
}

type saying struct {
	traceparent string
	next        http.RoundTripper
}

func (s saying) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Traceparent", s.traceparent)
	return s.next.RoundTrip(r)
}

// What asks for something, however it does, finds in its trace what was done on the
// engine for it. All of it has arrived when the manager has ended.
func TestTracesFromAWishToTheEngine(t *testing.T) {
	var (
		applied  = strings.Repeat("a", 32)
		restart  = strings.Repeat("b", 32)
		job      = strings.Repeat("c", 32)
		redis    = redistest.StartServer(t)
		results  = read(t, redis, "runtime:job_results")
		receives = newCollector(t)
	)
	config, err := testConfig(t, func(c *Config) { c.OTLPEndpoint, c.RedisURL = receives.address, redis.URL() }).complete()
	require.NoError(t, err)
	m := startOn(t, config, enginetest.NewSim(demoImage))

	m.applyIn(t, applied, "chess")
	m.awaitReady("chess")
	request, err := http.NewRequest(http.MethodPost, "http://"+m.app.services.Addr().String()+"/api/v1/internal/runtimes/chess/restart?wait=1m", nil)
	require.NoError(t, err)
	request.Header.Set("X-Galaxy-Caller", "game-master")
	response, err := in(restart, http.DefaultTransport).RoundTrip(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, redis.Client(t).XAdd(t.Context(), &goredis.XAddArgs{Stream: "runtime:start_jobs", Values: []string{
		"job_id", "one", "game_id", "go", "requested_at_ms", "1764000000000", "requested_by", "lobby", "image_ref", demoImage, "traceparent", traceparent(job),
	}}).Err())
	require.Equal(t, "success", results.await(t, func(r told) bool { return r.JobID == "one" }).Outcome)
	m.awaitReady("go")
	m.stop()

	all := receives.of(applied)
	below := all.below(all.asked(t, "patch gameruntimes"))
	require.Subset(t, below, []string{"reconcile", "engine Create", "engine Start"})
	all = receives.of(restart)
	below = all.below(all.asked(t, "POST /api/v1/internal/runtimes/{game}/restart"))
	require.Subset(t, below, []string{"patch gameruntimes", "reconcile", "engine Stop", "engine Create", "engine Start"})
	all = receives.of(job)
	below = all.below(all.asked(t, "job start"))
	require.Subset(t, below, []string{"patch gameruntimes", "reconcile", "engine Create", "engine Start"})
}

// applyIn applies a game as kubectl does, in a trace.
func (m *manager) applyIn(t *testing.T, trace, name string) {
	t.Helper()
	access, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig)
	require.NoError(t, err)
	access.Wrap(func(next http.RoundTripper) http.RoundTripper { return in(trace, next) })
	client, err := dynamic.NewForConfig(access)
	require.NoError(t, err)
	record := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "runtime.galaxy.io/v1alpha1", "kind": "GameRuntime", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"image": demoImage},
	}}
	_, err = client.Resource(command.Records).Namespace("default").Apply(t.Context(), name, record, metav1.ApplyOptions{FieldManager: "kubectl"})
	require.NoError(t, err)
}
