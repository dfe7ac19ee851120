package controllers

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// foresee decides as a pass would, and leaves it at that: no probe begins or
// ends, nothing counts toward the brake, no source is told, no outcome is taken.
// A replica that does not lead sees the same engine; what only the leader knows,
// the work in hand and verdicts that are not recorded yet, it does without.
func (r *GameRuntimeReconciler) foresee(ctx context.Context, record *v1alpha1.GameRuntime) v1alpha1.GameRuntimePlan {
	in := r.facts(ctx, record, r.engine.InspectImage)
	in.Brake = r.brake.asItHolds(record, in.View)
	i := slices.IndexFunc(in.View.Containers, func(c engine.Container) bool { return c.State == engine.StateRunning })
	if i >= 0 {
		in.Health = r.prober.Results(client.ObjectKeyFromObject(record), instanceOf(in.View.Containers[i]))
	}
	return plan.Preview(in, plan.For(in))
}
