package streams

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/tracing"
	"galaxy.io/runtime-manager/pkg/tracing/tracingtest"
)

// hearing is a world that hears to which span its writes belong.
type hearing struct {
	*world
	parents chan string
}

func (h hearing) Start(ctx context.Context, start command.Start) (command.Answer, error) {
	h.parents <- tracing.Parent(ctx)
	return h.world.Start(ctx, start)
}

// A job is one span, from when it is read until it is answered, of the trace that its
// entry names.
func TestJobsAreTraced(t *testing.T) {
	e, traces := newEdge(t), tracingtest.New(1)
	t.Cleanup(traces.Close)
	e.idle = true
	hears := hearing{e.world, make(chan string, 10)}
	i := e.intake("one", func(o *IntakeOptions) { o.Traces, o.Commands = traces.Traces, hears })
	entry := e.add(StartJobs, job("traced", "chess", "image_ref", "galaxy/demo-game:1.0.0", "traceparent", tracingtest.Parent)...)
	parent := <-hears.parents
	e.settle("chess")
	told := e.of("traced", 1)
	e.idle = false
	e.add(StartJobs, job("untold", "go", "image_ref", "galaxy/demo-game:1.0.0", "traceparent", "nonsense")...)
	e.of("untold", 1)
	e.add(StopJobs, job("nobody", "nobody")...)
	e.of("nobody", 1)
	i.end()

	spans := map[string]tracetest.SpanStub{}
	for _, s := range traces.Spans() {
		for _, a := range s.Attributes {
			if a.Key == "job" {
				require.NotContains(t, spans, a.Value.AsString(), "one span a job")
				spans[a.Value.AsString()] = s
			}
		}
	}
	traced := spans["traced"]
	require.Equal(t, "job start", traced.Name)
	require.Equal(t, tracingtest.Trace, traced.SpanContext.TraceID().String())
	require.Contains(t, parent, traced.SpanContext.SpanID().String(), "the write belongs to the job")
	require.Contains(t, traced.Attributes, attribute.String("game", "default/chess"))
	require.Contains(t, traced.Attributes, attribute.String("entry", entry))
	require.Contains(t, traced.Attributes, attribute.String("outcome", "success"))
	require.LessOrEqual(t, told[0].AnsweredAtMs, traced.EndTime.UnixMilli(), "it ends when it is answered")
	require.False(t, spans["untold"].Parent.IsValid())
	require.Equal(t, codes.Error, spans["nobody"].Status.Code)
	require.Contains(t, spans["nobody"].Attributes, attribute.String("error_code", v1alpha1.CodeNotFound))
}

func TestTraceparentOfAnEntry(t *testing.T) {
	for given, want := range map[string]string{
		tracingtest.Parent: tracingtest.Parent, "": "", "nonsense": "", tracingtest.Parent + "\x00": "", tracingtest.Parent[1:]: "",
	} {
		values := map[string]any{
			"job_id": "j", "game_id": "chess", "requested_by": "lobby", "requested_at_ms": "1", "traceparent": given,
		}
		parsed, wrong := parse(StopJobs, redis.XMessage{ID: "1-0", Values: values})
		require.NoError(t, wrong, "no job fails for it")
		require.Equal(t, want, parsed.Traceparent)
	}
}
