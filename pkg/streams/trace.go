package streams

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// trace begins the span of a job, from when it was read. It ends when the job is
// answered, or with a try after which it is tried again: that has a span of its own.
func (i *Intake) trace(ctx context.Context, claim journal.ClaimedJob) (context.Context, trace.Span) {
	return i.Traces.Start(i.Traces.From(ctx, claim.Traceparent), "job "+claim.Verb,
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(claim.ReceivedAt), trace.WithAttributes(
			attribute.String("job", claim.ID), attribute.String("game", i.Namespace+"/"+claim.Game), attribute.String("caller", claim.Caller),
			attribute.String("stream", claim.Stream), attribute.String("entry", claim.Entry), attribute.Int("try", claim.Tries)))
}

// answered ends the span of a job with its result.
func answered(span trace.Span, result command.Result) {
	span.SetAttributes(attribute.String("outcome", string(result.Outcome)), attribute.String("error_code", result.ErrorCode))
	var err error
	if result.Outcome == command.Failure {
		err = errors.New(result.Message)
	}
	tracing.End(span, err)
}
