package controllers

import (
	"context"
	"slices"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/tracing/tracingtest"
)

// newTracedWorld is a world whose passes are traced.
func newTracedWorld(t *testing.T) (*world, *tracingtest.Recorder) {
	traces := tracingtest.New(1)
	t.Cleanup(traces.Close)
	return newWorldThat(t, func(w *world, _ *mirror.Options) {
		w.traces, w.engine = traces.Traces, traces.Engine(w.sim)
	}), traces
}

// asked has the record's spec be from a write of the trace.
func (w *world) askedIn(traceparent string) {
	record := w.read()
	if record.Annotations == nil {
		record.Annotations = map[string]string{}
	}
	record.Annotations[v1alpha1.AnnotationTrace] = v1alpha1.TraceOf(record.Generation, traceparent)
	require.NoError(w.t, w.client.Update(context.Background(), record))
}

func value(span tracetest.SpanStub, key string) string {
	for _, a := range span.Attributes {
		if string(a.Key) == key {
			return a.Value.AsString()
		}
	}
	return ""
}

// passes are the spans of passes, each with the engine calls below it.
func passes(spans tracetest.SpanStubs) (actions []string, calls map[string][]string) {
	calls = map[string][]string{}
	for _, s := range spans {
		if s.Name != "reconcile" {
			continue
		}
		actions = append(actions, value(s, "action"))
		for _, call := range spans {
			if call.Parent.SpanID() == s.SpanContext.SpanID() {
				calls[value(s, "action")] = append(calls[value(s, "action")], call.Name)
			}
		}
	}
	return actions, calls
}

// Each pass that acts is a span of the write's trace, with the engine's calls below
// it; those that find nothing to do are none.
func TestPassesBelongToTheWrite(t *testing.T) {
	w, traces := newTracedWorld(t)
	var lines []string
	w.log = funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	w.sim.Publish("galaxy/go:1.0.0")
	w.declare(func(s *v1alpha1.GameRuntimeSpec) { s.Image = "galaxy/go:1.0.0" })
	w.askedIn(tracingtest.Parent)
	w.settle()
	w.requireReady()

	spans := traces.Spans()
	actions, calls := passes(spans)
	require.Equal(t, []string{actionPull, v1alpha1.ActionCreate, v1alpha1.ActionStart}, actions)
	require.Equal(t, []string{"engine PullImage"}, calls[actionPull])
	require.Contains(t, calls[v1alpha1.ActionCreate], "engine Create")
	require.Equal(t, []string{"engine Start"}, calls[v1alpha1.ActionStart])
	for _, s := range spans {
		require.Equal(t, tracingtest.Trace, s.SpanContext.TraceID().String(), s.Name)
	}
	create := spans[slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return value(s, "action") == v1alpha1.ActionCreate })]
	require.Contains(t, create.Attributes, attribute.String("game", chess.String()))
	require.Equal(t, w.container().Operation, value(create, "operation"))
	require.NotEmpty(t, lines)
	for _, line := range lines {
		require.Contains(t, line, `"trace"="`+tracingtest.Trace)
	}
}

// What is mended after the wish was carried out is a trace of its own, and so is
// what belongs to another write.
func TestMendingIsNobodysTrace(t *testing.T) {
	w, traces := newTracedWorld(t)
	w.declare(nil)
	w.settle()
	w.askedIn(tracingtest.Parent)
	w.sim.Kill(w.container().ID, enginetest.Ending{Code: 3})
	w.seen(func(v engine.View) bool { return len(v.Containers) == 1 && v.Containers[0].State == engine.StateExited })
	w.settle()
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }) // another generation
	w.settle()

	spans := traces.Spans()
	actions, calls := passes(spans)
	require.Contains(t, actions, v1alpha1.ActionStop)
	require.Contains(t, calls[v1alpha1.ActionStop], "engine Stop")
	for _, s := range spans {
		require.NotEqual(t, tracingtest.Trace, s.SpanContext.TraceID().String(), s.Name)
		require.Equal(t, s.Name == "reconcile", !s.Parent.IsValid(), "%s: a pass begins a trace, a call none", s.Name)
		if value(s, "action") == v1alpha1.ActionStop {
			require.NotEmpty(t, value(s, "reason"))
		}
	}
}

// Probes, and passes with nothing to do, make no spans.
func TestNothingToDoIsNoSpan(t *testing.T) {
	w, traces := newTracedWorld(t)
	w.declare(nil)
	w.askedIn(tracingtest.Parent)
	w.settle()
	before := len(traces.Spans())
	require.NotZero(t, before)

	again := tracingtest.New(1)
	w.traces = again.Traces
	for range 3 {
		w.step()
	}
	require.Empty(t, again.Spans())
}
