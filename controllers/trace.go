package controllers

import (
	"cmp"
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// asked returns a context that belongs to the trace of the write which a record's
// spec is from, until that is carried out. What has to be mended later nobody asked for.
func (r *GameRuntimeReconciler) asked(ctx context.Context, record *v1alpha1.GameRuntime) context.Context {
	if r.carriedOut(record) {
		return ctx
	}
	return r.traces.From(ctx, record.Traceparent())
}

// carriedOut says that nothing was left to do once for a record's generation. That is
// remembered, of records that are traced: who starts while something is to be mended
// takes it for what was asked for.
func (r *GameRuntimeReconciler) carriedOut(record *v1alpha1.GameRuntime) bool {
	if r.traces == nil || record.Traceparent() == "" {
		return false
	}
	name := client.ObjectKeyFromObject(record)
	progressing := meta.FindStatusCondition(record.Status.Conditions, v1alpha1.ConditionProgressing)
	if progressing != nil && progressing.Status == metav1.ConditionFalse && progressing.ObservedGeneration == record.Generation {
		r.carried.Store(name, record.Generation)
		return true
	}
	generation, ok := r.carried.Load(name)
	return ok && generation == record.Generation
}

// trace begins the span of a pass that acts; one that finds nothing to do has none.
// act ends it, once the action is over.
func (r *GameRuntimeReconciler) trace(ctx context.Context, game engine.GameID, next plan.Action) context.Context {
	if _, waits := next.(plan.Wait); next == nil || waits || r.traces == nil {
		return ctx
	}
	ctx, _ = r.traces.Start(ctx, "reconcile", trace.WithAttributes(
		attribute.String("game", game.String()), attribute.String("action", actionName(next)), attribute.String("doing", next.String())))
	return ctx
}

// explain tells a span which operation it is of, and why.
func explain(span trace.Span, intent plan.Intent) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("operation", intent.ID))
	if reason := cmp.Or(intent.Why, string(intent.Cause)); reason != "" {
		span.SetAttributes(attribute.String("reason", reason))
	}
}
