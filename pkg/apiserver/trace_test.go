package apiserver

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
	"galaxy.io/runtime-manager/pkg/tracing"
	"galaxy.io/runtime-manager/pkg/tracing/tracingtest"
)

// startTraced starts a server that makes these traces.
func startTraced(t *testing.T, traces *tracing.Traces) *api {
	t.Helper()
	backend := openStore(t, store.Options{Pool: postgrestest.Schema(t)})
	return start(t, backend, t.TempDir(), "127.0.0.1:0", config.CRDs, func(o *Options) { o.Traces = traces })
}

// from is a client that says which span it asks for.
func from(t *testing.T, config *rest.Config, traceparent string) dynamic.ResourceInterface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return saying{next, traceparent} })
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	return client.Resource(games).Namespace("default")
}

type saying struct {
	next        http.RoundTripper
	traceparent string
}

func (s saying) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if s.traceparent != "" {
		r.Header.Set("Traceparent", s.traceparent)
	}
	return s.next.RoundTrip(r)
}

func chess(image string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "runtime.galaxy.io/v1alpha1", "kind": "GameRuntime",
		"metadata": map[string]any{"name": "chess", "namespace": "default"}, "spec": map[string]any{"image": image},
	}}
}

func annotationOf(record *unstructured.Unstructured) string {
	return record.GetAnnotations()[v1alpha1.AnnotationTrace]
}

// A write is a span of its caller's trace, or a trace of its own, and the record
// remembers that with its generation; what changes no spec changes nothing of it.
func TestWritesAreTraced(t *testing.T) {
	traces := tracingtest.New(1)
	a := startTraced(t, traces.Traces)
	caller, nobody := from(t, a.admin, tracingtest.Parent), from(t, a.admin, "")
	apply := metav1.ApplyOptions{FieldManager: "gitops"}
	made, err := caller.Apply(t.Context(), "chess", chess("galaxy/demo-game:1.0.0"), apply)
	require.NoError(t, err)
	require.Contains(t, annotationOf(made), "1/00-"+tracingtest.Trace)

	again, err := nobody.Apply(t.Context(), "chess", chess("galaxy/demo-game:1.0.0"), apply)
	require.NoError(t, err)
	require.Equal(t, made.GetResourceVersion(), again.GetResourceVersion(), "the same again is no write")
	dry, err := nobody.Apply(t.Context(), "chess", chess("galaxy/demo-game:1.0.1"), metav1.ApplyOptions{FieldManager: "gitops", DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)
	require.Equal(t, annotationOf(made), annotationOf(dry), "a diff shows nothing of it")
	labelled := chess("galaxy/demo-game:1.0.0")
	labelled.SetLabels(map[string]string{"a": "b"})
	labelled, err = nobody.Apply(t.Context(), "chess", labelled, apply)
	require.NoError(t, err)
	require.Equal(t, annotationOf(made), annotationOf(labelled))

	changed, err := nobody.Apply(t.Context(), "chess", chess("galaxy/demo-game:1.0.1"), metav1.ApplyOptions{FieldManager: "somebody-else", Force: true})
	require.NoError(t, err, "the annotation is nobody's field")
	require.Contains(t, annotationOf(changed), "2/00-")
	require.NotContains(t, annotationOf(changed), tracingtest.Trace)
	require.Equal(t, int64(2), changed.GetGeneration())
	require.NoError(t, caller.Delete(t.Context(), "chess", metav1.DeleteOptions{}))

	spans := named(traces.Spans(), "patch gameruntimes", "delete gameruntimes")
	require.Len(t, spans, 6)
	first, third, last := spans[0], spans[2], spans[5]
	require.Equal(t, tracingtest.Trace, first.SpanContext.TraceID().String())
	require.Contains(t, first.Attributes, attribute.String("name", "chess"))
	require.Contains(t, first.Attributes, attribute.Int("http.response.status_code", http.StatusCreated))
	require.Contains(t, annotationOf(made), first.SpanContext.SpanID().String())
	require.False(t, third.Parent.IsValid(), "nobody's write begins a trace")
	require.Equal(t, tracingtest.Trace, last.SpanContext.TraceID().String())
}

// The manager's own client makes no trace of what it writes of itself, and nobody
// makes one by asking.
func TestWhatIsNoTrace(t *testing.T) {
	traces := tracingtest.New(1)
	a := startTraced(t, traces.Traces)
	ours, caller := from(t, a.ClientConfig(), ""), from(t, a.admin, tracingtest.Parent)
	made, err := ours.Create(t.Context(), chess("galaxy/demo-game:1.0.0"), metav1.CreateOptions{})
	require.NoError(t, err)
	require.Empty(t, annotationOf(made))
	_, err = caller.Get(t.Context(), "chess", metav1.GetOptions{})
	require.NoError(t, err)
	require.Empty(t, traces.Spans())
}

// Off, a caller's trace is not taken up.
func TestTracesAreOff(t *testing.T) {
	a := startTraced(t, nil)
	made, err := from(t, a.admin, tracingtest.Parent).Create(t.Context(), chess("galaxy/demo-game:1.0.0"), metav1.CreateOptions{})
	require.NoError(t, err)
	require.Empty(t, made.GetAnnotations())
}

func named(spans tracetest.SpanStubs, names ...string) tracetest.SpanStubs {
	return slices.DeleteFunc(spans, func(s tracetest.SpanStub) bool { return !slices.Contains(names, s.Name) })
}
