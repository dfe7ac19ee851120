package controllers

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/plan"
)

func TestOurOwnContainerIsAdoptedAsItRuns(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy = plan.OrphansAdopt
	w.declare(func(s *v1alpha1.GameRuntimeSpec) { s.Args = []string{enginetest.Serve} })
	w.settle()
	before := w.container()
	record := w.read()
	record.Finalizers = nil
	require.NoError(t, w.client.Update(context.Background(), record))
	require.NoError(t, w.client.Delete(context.Background(), record))

	w.settle()
	w.settle() // the record is there now
	adopted := w.read()
	require.Equal(t, before.ID, adopted.Annotations[v1alpha1.AnnotationAdopted])
	require.Equal(t, v1alpha1.DriftEnforce, adopted.Spec.DriftPolicy)
	require.Equal(t, []string{enginetest.Serve}, adopted.Spec.Args)
	require.Contains(t, adopted.Finalizers, v1alpha1.FinalizerEngine)
	require.True(t, meta.IsStatusConditionTrue(adopted.Status.Conditions, v1alpha1.ConditionInSync))
	require.Equal(t, before, w.container(), "not touched")
	require.Zero(t, w.sim.Calls("Stop"))
	require.Empty(t, w.orphans.report())

	w.sim.Kill(before.ID, enginetest.Ending{Code: 3})
	w.seen(func(v engine.View) bool { return v.Containers[0].Exit != nil })
	w.settle()
	w.requireReady()
	require.Equal(t, before.ID, w.container().ID, "restarted, as its own")
}

func TestStartedByHandIsAdoptedAndObserved(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy = plan.OrphansAdopt
	foreign := w.byHand("foreign", "another installation", nil)
	id := w.byHand("by-hand", w.settings.Installation, nil)
	w.step()
	w.settle()
	adopted := w.read()
	require.Equal(t, id, adopted.Annotations[v1alpha1.AnnotationAdopted])
	require.Equal(t, v1alpha1.DriftObserve, adopted.Spec.DriftPolicy)
	require.Equal(t, v1alpha1.ReasonObserved, adopted.Status.Pending.Reason)
	require.NotEmpty(t, adopted.Status.Drift)
	require.Equal(t, engine.StateRunning, w.state(id))
	require.Equal(t, "by-hand", w.container().Name)

	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftEnforce })
	w.settle()
	require.Equal(t, v1alpha1.ReasonStateMissing, w.read().Status.Pending.Reason)
	require.Equal(t, engine.StateRunning, w.state(id), "its state may be in it")

	require.NoError(t, w.states.ensure(chess, w.settings.User, "")) // somebody put its state there
	w.settle()
	require.NotEqual(t, engine.StateRunning, w.state(id), "taken over")
	require.Len(t, w.sim.Running(chess), 2, "one of ours, and the foreign one")
	require.Equal(t, engine.StateRunning, w.state(foreign))
}

func TestRecordThatTheAPIRefuses(t *testing.T) {
	for name, refusal := range map[string]error{
		"no namespace": apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "default"),
		"invalid":      apierrors.NewInvalid(schema.GroupKind{Kind: "GameRuntime"}, "chess", nil),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.orphans.policy = plan.OrphansAdopt
			refusing, asked := true, 0
			w.client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					if asked++; refusing {
						return refusal
					}
					return c.Create(ctx, o, opts...)
				},
			})
			id := w.byHand("by-hand", w.settings.Installation, nil)
			require.Equal(t, adoptAgain, w.step().RequeueAfter)
			require.Equal(t, adoptAgain, w.step().RequeueAfter)
			require.Equal(t, 1, asked)
			require.Contains(t, w.orphans.report()[0].Action, refusal.Error())

			refusing = false
			w.clock.Step(adoptAgain)
			w.step()
			require.Equal(t, id, w.read().Annotations[v1alpha1.AnnotationAdopted])
		})
	}
}

func TestGameThatThePlatformDoesNotKnowIsNotAdopted(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy = plan.OrphansAdopt
	unknown := errors.New("the Lobby has no such game")
	w.orphans.vouch = func(_ context.Context, game engine.GameID) error {
		require.Equal(t, chess, game)
		return unknown
	}
	id := w.byHand("by-hand", w.settings.Installation, nil)
	require.Equal(t, adoptAgain, w.step().RequeueAfter)
	require.Contains(t, w.orphans.report()[0].Action, "the Lobby has no such game")
	require.Equal(t, engine.StateRunning, w.state(id), "not touched")
	require.Zero(t, w.sim.Calls("Stop"))

	unknown = nil
	w.clock.Step(adoptAgain)
	w.step()
	require.Equal(t, id, w.read().Annotations[v1alpha1.AnnotationAdopted])
}

func TestImageOfAnOrphanIsGone(t *testing.T) {
	w := newWorld(t)
	w.orphans.policy = plan.OrphansAdopt
	w.byHand("by-hand", w.settings.Installation, nil)
	mend := w.sim.Inject(enginetest.Fault{Verb: "InspectImage", Kind: engine.NotFound})
	require.Equal(t, adoptAgain, w.step().RequeueAfter)
	mend()
	w.clock.Step(adoptAgain)
	w.step()
	w.read()
}
