package tracing

import (
	"cmp"
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Engine makes a span of each call that changes something on an engine, where it
// belongs to one: a probe that runs a program makes none.
func (t *Traces) Engine(of engine.Engine) engine.Engine {
	if t == nil {
		return of
	}
	return &tracedEngine{of, t}
}

type tracedEngine struct {
	engine.Engine
	traces *Traces
}

// call makes one call.
func (e *tracedEngine) call(ctx context.Context, verb string, do func(context.Context, trace.Span) error, attributes ...attribute.KeyValue) error {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return do(ctx, trace.SpanFromContext(ctx))
	}
	ctx, span := e.traces.Start(ctx, "engine "+verb, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(append(attributes, attribute.String("verb", verb))...))
	err := do(ctx, span)
	span.SetAttributes(attribute.String("outcome", cmp.Or(string(engine.KindOf(err)), "Succeeded")))
	End(span, err)
	return err
}

func container(id string) attribute.KeyValue { return attribute.String("container", id) }

func (e *tracedEngine) EnsureNetwork(ctx context.Context, name, installation string) error {
	return e.call(ctx, "EnsureNetwork", func(ctx context.Context, _ trace.Span) error {
		return e.Engine.EnsureNetwork(ctx, name, installation)
	}, attribute.String("network", name))
}

func (e *tracedEngine) PullImage(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	return e.call(ctx, "PullImage", func(ctx context.Context, _ trace.Span) error {
		return e.Engine.PullImage(ctx, ref, progress)
	}, attribute.String("image", ref))
}

func (e *tracedEngine) Create(ctx context.Context, spec engine.ContainerSpec) (id string, err error) {
	err = e.call(ctx, "Create", func(ctx context.Context, span trace.Span) error {
		id, err = e.Engine.Create(ctx, spec)
		span.SetAttributes(container(id))
		return err
	}, attribute.String("name", spec.Name), attribute.String("image", spec.Image))
	return id, err
}

func (e *tracedEngine) Start(ctx context.Context, id string) error {
	return e.call(ctx, "Start", func(ctx context.Context, _ trace.Span) error { return e.Engine.Start(ctx, id) }, container(id))
}

func (e *tracedEngine) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	return e.call(ctx, "Stop", func(ctx context.Context, _ trace.Span) error {
		return e.Engine.Stop(ctx, id, signal, grace)
	}, container(id), attribute.String("signal", signal), attribute.String("grace", grace.String()))
}

func (e *tracedEngine) Exec(ctx context.Context, id string, command []string) (result engine.ExecResult, err error) {
	err = e.call(ctx, "Exec", func(ctx context.Context, span trace.Span) error {
		result, err = e.Engine.Exec(ctx, id, command)
		span.SetAttributes(attribute.Int("exit_code", int(result.Code)))
		return err
	}, container(id))
	return result, err
}

func (e *tracedEngine) Rename(ctx context.Context, id, name string) error {
	return e.call(ctx, "Rename", func(ctx context.Context, _ trace.Span) error {
		return e.Engine.Rename(ctx, id, name)
	}, container(id), attribute.String("name", name))
}

func (e *tracedEngine) Remove(ctx context.Context, id string) error {
	return e.call(ctx, "Remove", func(ctx context.Context, _ trace.Span) error { return e.Engine.Remove(ctx, id) }, container(id))
}

func (e *tracedEngine) UpdateResources(ctx context.Context, id string, resources engine.Resources) error {
	return e.call(ctx, "UpdateResources", func(ctx context.Context, _ trace.Span) error {
		return e.Engine.UpdateResources(ctx, id, resources)
	}, container(id))
}
