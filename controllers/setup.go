// Package controllers holds the loop: it brings records and the engine
// together. Setup lists everything that runs in it.
package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/probe"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// Options are what the loop needs.
type Options struct {
	Engine   engine.Engine
	Journal  *journal.Journal
	Settings plan.Settings
	// Concurrency is how many games are worked on at once.
	Concurrency int
	// Resync is how often everything on the engine is listed; 0 is the mirror's
	// own default.
	Resync time.Duration
	// Recreation is frozen when more than this share of the games, and more than
	// this many, vanish together.
	MassVanishShare float64
	MassVanishMin   int
	// Orphans says what becomes of containers of ours that have no record, and
	// OrphanGrace when those to be removed are.
	Orphans     plan.OrphanPolicy
	OrphanGrace time.Duration
	// Vouch says why a game that is to be adopted is none of the platform's; nil if
	// nobody can be asked.
	Vouch func(context.Context, engine.GameID) error
	// Leads fails, and says why, once this replica may not act: its lead ran out, by
	// its own clock.
	Leads func() error
	// Traces make a span of each pass that acts; nil makes none.
	Traces *tracing.Traces
	Log    logr.Logger
}

// Loop is what others may ask of it, whether this replica leads or not.
type Loop struct {
	// Mirror is the picture that it works from.
	Mirror *mirror.Mirror
	// Foresee says what would be done to a game if its record were this one, and
	// does nothing.
	Foresee func(ctx context.Context, record *v1alpha1.GameRuntime) v1alpha1.GameRuntimePlan
}

// Setup adds the loop and its sources to a manager.
func Setup(mgr ctrl.Manager, options Options) (*Loop, error) {
	log := options.Log
	feeds := &sources{records: mgr.GetClient()}
	reporter := &DriftReporter{client: mgr.GetClient(), live: mgr.GetAPIReader(), clock: clock.RealClock{}, metrics: newDriftMetrics()}
	brake := newBrake(brakeOptions{
		records: mgr.GetClient(), clock: clock.RealClock{}, log: log.WithName("brake"),
		share: options.MassVanishShare, min: options.MassVanishMin, spacing: brakeSpacing, pace: brakePace, wake: feeds.sweep, changed: reporter.wake,
	})
	visitor := newVisitor(options.Engine, options.Settings.Network, log.WithName("network"))
	picture := mirror.New(mirror.Options{
		Reader: options.Engine, Installation: options.Settings.Installation, Log: log.WithName("mirror"),
		Resync: options.Resync, OnChange: feeds.gameChanged,
		OnFleet: func(fleet engine.Fleet) {
			brake.engineChanged(fleet)
			feeds.engineChanged(fleet)
			visitor.engineChanged(fleet)
			reporter.wake()
		},
	})
	brake.mirror, feeds.games = picture, picture.Games
	prober := probe.New(probe.Options{
		Log: log.WithName("probe"), OnChange: feeds.probeChanged, Exec: programsOn(options.Engine),
		EngineAnswers: func() bool { return picture.Fleet().Reachable },
	})
	reconciler := &GameRuntimeReconciler{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), engine: options.Engine, mirror: picture, prober: prober,
		recorder: mgr.GetEventRecorder("runtime-manager"), settings: options.Settings, clock: clock.RealClock{},
		log: log.WithName("game"), traces: options.Traces, leads: options.Leads, reconciles: newReconcileMetric(),
		journal: options.Journal, herald: newHerald(options.Journal, clock.RealClock{}),
		states: states{root: options.Settings.StateRoot}, brake: brake,
		orphans: orphans{policy: options.Orphans, grace: options.OrphanGrace, vouch: options.Vouch, changed: reporter.wake},
	}
	reporter.mirror, reporter.orphans, reporter.brake = picture, &reconciler.orphans, brake
	reconciler.work = newWorkshop(clock.RealClock{}, feeds.gameChanged,
		newPulls(clock.RealClock{}, reconciler.pull, feeds.gameChanged, reconciler.tellPulling))
	for name, runnable := range map[string]manager.Runnable{
		"mirror":   onEveryReplica{picture.Run}, // a standby's picture is warm
		"prober":   manager.RunnableFunc(prober.Run),
		"workshop": reconciler.work,
		"brake":    brake,
		"network":  visitor,
		"journal":  journalist{options.Journal, brake, feeds.gameChanged},
	} {
		if err := mgr.Add(runnable); err != nil {
			return nil, fmt.Errorf("adding the %s: %w", name, err)
		}
	}
	census := newCensus()
	if err := census.follow(mgr); err != nil {
		return nil, err
	}
	if err := Register(slices.Concat(picture.Collectors(), prober.Collectors(), options.Journal.Collectors(), []prometheus.Collector{
		reconciler.reconciles, reconciler.work.metrics.actions, reconciler.work.metrics.duration, census.games, census.waiting,
		brake.frozen, reconciler.herald.events, reporter.metrics.drift, reporter.metrics.orphans,
	})); err != nil {
		return nil, err
	}
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.GameRuntime{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(feeds.gamesIn),
			builder.WithPredicates(predicate.AnnotationChangedPredicate{})).
		WatchesRawSource(feeds).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: options.Concurrency,
			EnableWarmup:            ptr.To(true), // a standby's cache and queue are warm
			SkipNameValidation:      ptr.To(true), // a process may run one manager after another
		}).
		Complete(reconciler)
	if err != nil {
		return nil, fmt.Errorf("setting up the controller of game runtimes: %w", err)
	}
	return &Loop{Mirror: picture, Foresee: reconciler.foresee}, setUpReporter(mgr, reporter)
}

// Register exposes metrics, in the place of those of a manager that this process
// ran before.
func Register(collectors []prometheus.Collector) error {
	for _, c := range collectors {
		metrics.Registry.Unregister(c)
		if err := metrics.Registry.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// setUpReporter has the drift report written anew when the drift of any record
// changes: however many do, it is one entry in the queue.
func setUpReporter(mgr ctrl.Manager, reporter *DriftReporter) error {
	news := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return driftChanged(e.ObjectOld.(*v1alpha1.GameRuntime), e.ObjectNew.(*v1alpha1.GameRuntime))
	}}
	once := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []ctrl.Request { return []ctrl.Request{{}} })
	err := ctrl.NewControllerManagedBy(mgr).
		Named("driftreport").
		Watches(&v1alpha1.GameRuntime{}, once, builder.WithPredicates(news)).
		WatchesRawSource(reporter).
		WithOptions(controller.Options{SkipNameValidation: ptr.To(true), EnableWarmup: ptr.To(true)}).
		Complete(reporter)
	if err != nil {
		return fmt.Errorf("setting up the controller of drift reports: %w", err)
	}
	return nil
}

// namespaces are cached as metadata: their annotations are all that matters.
var namespaces = metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}

// onEveryReplica runs whether this replica leads or not.
type onEveryReplica struct {
	run func(context.Context) error
}

func (o onEveryReplica) Start(ctx context.Context) error { return o.run(ctx) }

// NeedLeaderElection tells the manager not to wait for the lead.
func (onEveryReplica) NeedLeaderElection() bool { return false }
