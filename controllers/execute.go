package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// Deadlines of engine calls. A call that exceeds its own has an unknown
// outcome, which the next list completes.
const (
	inspectTimeout = 10 * time.Second
	changeTimeout  = time.Minute
	// pullTimeout is how long a game waits for its image, its turn included.
	pullTimeout = 15 * time.Minute
	// stopMargin is what a stop may take beyond its grace period.
	stopMargin = 30 * time.Second
)

// act does the next action: what changes a container only once its intent is
// durable. One that goes on beside the queue has acted, but has no outcome yet.
func (r *GameRuntimeReconciler) act(ctx context.Context, in plan.Input, next plan.Action) (acted bool, outcome *plan.Outcome, err error) {
	game, span := plan.GameOf(in.Record), trace.SpanFromContext(ctx)
	switch a := next.(type) {
	case nil, plan.Wait:
		return false, nil, nil
	case plan.PullImage:
		fresh := in.Record.Spec.ImagePullPolicy == v1alpha1.PullAlways
		r.work.begin(game, plan.Work{Action: a}, pullTimeout, func(ctx context.Context) error {
			err := r.work.pulls.wait(trace.ContextWithSpan(ctx, span), game, a.Ref, fresh)
			tracing.End(span, err)
			return err
		})
		return true, nil, nil
	}
	intent, err := r.intend(ctx, in, next)
	if err != nil {
		tracing.End(span, err)
		return false, nil, err
	}
	explain(span, intent)
	in.Record = in.Record.DeepCopy() // what goes on beside the queue outlives this pass
	do := func(ctx context.Context) error {
		err := r.do(trace.ContextWithSpan(ctx, span), in, next, intent.ID)
		r.finish(game, intent.Finished(err, r.settings))
		tracing.End(span, err)
		return err
	}
	work := plan.Work{Action: next, Operation: intent.ID}
	if _, stop := next.(plan.StopContainer); stop || hangs(in) {
		r.work.begin(game, work, timeLimit(next), do)
		return true, nil, nil
	}
	return true, r.work.do(game, work, timeLimit(next), do), nil
}

// hangs says that the engine did not answer for this game of late: no worker
// waits for it again.
func hangs(in plan.Input) bool {
	pending := in.Record.Status.Pending
	unresponsive := func(c engine.Container) bool { return c.Unresponsive }
	return pending != nil && pending.Reason == v1alpha1.ReasonEngineTimeout || slices.ContainsFunc(in.View.Containers, unresponsive)
}

// do has an effect. An intent is no permission for ever: a process may be paused
// between it and the effect, and a stop may wait for its turn.
func (r *GameRuntimeReconciler) do(ctx context.Context, in plan.Input, next plan.Action, operation string) error {
	if err := r.leads(); err != nil {
		return err
	}
	game := plan.GameOf(in.Record)
	switch a := next.(type) {
	case plan.CreateContainer:
		a.Spec.Labels = maps.Clone(a.Spec.Labels)
		a.Spec.Labels[v1alpha1.LabelOperation] = operation
		return r.create(ctx, in, a)
	case plan.StartContainer:
		return r.start(ctx, a)
	case plan.StopContainer:
		return r.stop(ctx, in, a)
	case plan.RenameContainer:
		return r.rename(ctx, a)
	case plan.RemoveContainer:
		r.brake.explain(game, a.ID)
		return r.remove(ctx, a)
	case plan.UpdateResources:
		return r.update(ctx, a)
	case plan.RemoveState:
		return r.states.remove(game)
	default:
		panic(fmt.Sprintf("controllers: unknown action %T", next))
	}
}

// pull fetches an image for all the games that wait for it, and brings it into
// the picture.
func (r *GameRuntimeReconciler) pull(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	if err := r.engine.PullImage(ctx, ref, progress); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	_, _ = r.mirror.LookUpImage(ctx, ref) // or the next list tells
	return nil
}

// tellPulling tells games how far the pull of their image is. Events of one
// reason and action are one series, of which only the first is kept in full:
// so the action says how far, too.
func (r *GameRuntimeReconciler) tellPulling(games []engine.GameID, progress engine.PullProgress) {
	for _, game := range games {
		record := &v1alpha1.GameRuntime{}
		if err := r.client.Get(context.Background(), types.NamespacedName(game), record); err != nil {
			continue // the cache knows it no more
		}
		r.recorder.Eventf(record, nil, corev1.EventTypeNormal, v1alpha1.ReasonPulling,
			fmt.Sprintf("Pulled%dPercent", 10*tenths(progress)), "pulled %s", progress)
	}
}

// create makes the container. A name in use and a call whose answer never came
// are the same question: who has the name now? If it is this very game, an
// earlier call of ours made it.
func (r *GameRuntimeReconciler) create(ctx context.Context, in plan.Input, a plan.CreateContainer) error {
	game := plan.GameOf(in.Record)
	if in.Record.Status.Container != nil && !r.states.exists(game) {
		return r.states.missing(game)
	}
	if err := r.states.ensure(game, a.Spec.User, in.Image.User); err != nil {
		return err
	}
	if err := r.network.ensure(ctx, r.engine, r.settings); err != nil {
		return err
	}
	id, err := r.engine.Create(ctx, a.Spec)
	switch engine.KindOf(err) {
	case "":
	case engine.NameConflict, engine.Timeout:
		if id, err = r.holder(ctx, game, a.Spec.Name, err); err != nil {
			return err
		}
	default:
		r.network.doubt()
		return err
	}
	r.pulled.Delete(game)
	return r.see(ctx, id)
}

// holder returns the id of this game's own container of that name, or the error
// that led here, completed by who has the name.
func (r *GameRuntimeReconciler) holder(ctx context.Context, game engine.GameID, name string, cause error) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inspectTimeout)
	defer cancel()
	c, err := r.engine.Inspect(ctx, name)
	if err != nil {
		return "", cause
	}
	if c.Installation != r.settings.Installation || c.Game != game {
		return "", &engine.Error{
			Op: "create container " + name, Kind: engine.NameConflict,
			Err: fmt.Errorf("container %.12s of image %s, which is not ours, has the name", c.ID, c.Image),
		}
	}
	return c.ID, nil
}

func (r *GameRuntimeReconciler) start(ctx context.Context, a plan.StartContainer) error {
	err := r.engine.Start(ctx, a.ID)
	if err != nil {
		r.network.doubt()
		r.look(ctx, a.ID)
		return err
	}
	return r.see(ctx, a.ID)
}

func (r *GameRuntimeReconciler) stop(ctx context.Context, in plan.Input, a plan.StopContainer) error {
	r.quiesce(ctx, in.Record)
	grace := r.preStop(ctx, in, a)
	if err := r.leads(); err != nil {
		return err
	}
	if err := r.engine.Stop(ctx, a.ID, a.Signal, grace); err != nil {
		r.look(ctx, a.ID)
		return err
	}
	return r.see(ctx, a.ID)
}

func (r *GameRuntimeReconciler) rename(ctx context.Context, a plan.RenameContainer) error {
	if err := r.engine.Rename(ctx, a.ID, a.Name); err != nil {
		return err
	}
	return r.see(ctx, a.ID)
}

func (r *GameRuntimeReconciler) remove(ctx context.Context, a plan.RemoveContainer) error {
	if err := r.engine.Remove(ctx, a.ID); err != nil {
		r.look(ctx, a.ID)
		return err
	}
	return r.see(ctx, a.ID)
}

func (r *GameRuntimeReconciler) update(ctx context.Context, a plan.UpdateResources) error {
	if err := r.engine.UpdateResources(ctx, a.ID, a.Resources); err != nil {
		return err
	}
	return r.see(ctx, a.ID)
}

// see brings our own effect into the picture, so that the next pass sees it.
func (r *GameRuntimeReconciler) see(ctx context.Context, id string) error {
	return r.mirror.Refresh(ctx, id)
}

// look tries to bring the effect of a call that failed into the picture; the
// failure of the call is what is told.
func (r *GameRuntimeReconciler) look(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inspectTimeout)
	defer cancel()
	_ = r.mirror.Refresh(ctx, id) // the event stream or the next list will tell
}
