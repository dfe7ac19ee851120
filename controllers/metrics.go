package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

const namespace = "runtime_manager"

// Outcomes of a look at a record.
const (
	outcomeInSync     = "in_sync"
	outcomeWaiting    = "waiting"    // for the reason that goes with it
	outcomeUntouched  = "untouched"  // there is nothing to do yet, or any more
	outcomeUnrecorded = "unrecorded" // there is no record
	outcomeOutrun     = "outrun"     // somebody else wrote first
	outcomeFailed     = "failed"
)

// verdict is what came of a look at a record.
type verdict struct{ outcome, reason string }

func newReconcileMetric() *prometheus.CounterVec {
	reconciles := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "reconciles_total", Help: "Looks at a record by what came of them, and what a game waits for.",
	}, []string{"outcome", "reason"})
	for _, outcome := range []string{outcomeInSync, outcomeUntouched, outcomeUnrecorded, outcomeOutrun, outcomeFailed} {
		reconciles.WithLabelValues(outcome, "")
	}
	return reconciles
}

// actionMetrics are of what is asked of the engine.
type actionMetrics struct {
	actions  *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// The actions that have no intent, and so no name in the journal.
const (
	actionPull  = "pull"
	actionAdopt = "adopt"
)

func newActionMetrics() actionMetrics {
	m := actionMetrics{
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "actions_total", Help: "Actions on the engine that ended, by kind and outcome: Succeeded, or the kind of failure.",
		}, []string{"action", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "action_duration_seconds", Help: "How long actions took, their turn and the grace of a stop included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900},
		}, []string{"action"}),
	}
	for _, action := range []string{
		actionPull, actionAdopt, v1alpha1.ActionCreate, v1alpha1.ActionStart, v1alpha1.ActionStop,
		v1alpha1.ActionRemove, v1alpha1.ActionRename, v1alpha1.ActionUpdate, v1alpha1.ActionRemoveState,
	} {
		m.actions.WithLabelValues(action, v1alpha1.OperationSucceeded)
		m.duration.WithLabelValues(action)
	}
	return m
}

func (m actionMetrics) count(action plan.Action, took time.Duration, err error) {
	name := actionName(action)
	m.actions.WithLabelValues(name, cmp.Or(string(engine.KindOf(err)), v1alpha1.OperationSucceeded)).Inc()
	m.duration.WithLabelValues(name).Observe(took.Seconds())
}

func actionName(action plan.Action) string {
	switch action.(type) {
	case plan.PullImage:
		return actionPull
	case plan.AdoptContainer:
		return actionAdopt
	}
	return plan.IntentTo(action, engine.View{}).Action
}

// census counts the games as the cache has them, where this replica leads or not.
type census struct {
	games   *prometheus.GaugeVec
	waiting *prometheus.GaugeVec
}

func newCensus() census {
	return census{
		games: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "games", Help: "Games by the state that is wanted, by phase and by whether they are Ready, as this replica sees them.",
		}, []string{"state", "phase", "ready"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "games_waiting", Help: "Games that wait, by reason, as this replica sees them.",
		}, []string{"reason"}),
	}
}

// follow counts from now on.
func (c census) follow(mgr ctrl.Manager) error {
	informer, err := mgr.GetCache().GetInformer(context.Background(), &v1alpha1.GameRuntime{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("counting the games: %w", err)
	}
	if _, err := informer.AddEventHandler(c); err != nil {
		return fmt.Errorf("counting the games: %w", err)
	}
	return nil
}

// OnAdd, OnUpdate and OnDelete are for the informer.
func (c census) OnAdd(now any, _ bool)    { c.add(now, 1) }
func (c census) OnUpdate(before, now any) { c.add(before, -1); c.add(now, 1) }
func (c census) OnDelete(before any)      { c.add(before, -1) }

func (c census) add(object any, n float64) {
	if last, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	record, ok := object.(*v1alpha1.GameRuntime)
	if !ok {
		return
	}
	ready := metav1.ConditionUnknown
	if condition := meta.FindStatusCondition(record.Status.Conditions, v1alpha1.ConditionReady); condition != nil {
		ready = condition.Status
	}
	c.games.WithLabelValues(string(record.Spec.State), string(cmp.Or(record.Status.Phase, v1alpha1.PhasePending)), string(ready)).Add(n)
	if pending := record.Status.Pending; pending != nil {
		c.waiting.WithLabelValues(pending.Reason).Add(n)
	}
}
