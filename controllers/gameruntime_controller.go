package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/probe"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// backstop is when a record that waits for a source is looked at again even if
// no source wakes it.
const backstop = time.Minute

// GameRuntimeReconciler drives one game at a time toward its record: fetch,
// observe, plan, act, report. It is the only code that calls an engine's verbs.
type GameRuntimeReconciler struct {
	client   client.Client
	live     client.Reader
	engine   engine.Engine
	mirror   *mirror.Mirror
	prober   *probe.Prober
	recorder events.EventRecorder
	settings plan.Settings
	clock    clock.PassiveClock
	log      logr.Logger
	traces   *tracing.Traces
	// leads fails, and says why, where this replica may not act.
	leads func() error

	reconciles *prometheus.CounterVec

	journal *journal.Journal
	herald  *herald
	states  states
	work    *workshop
	network network
	orphans orphans
	brake   *brake
	// written holds the resource version of our last write to each record.
	written sync.Map
	// pulled holds the image pulled for each game's next container.
	pulled sync.Map
	// carried holds the generation of each traced record that was carried out last.
	carried sync.Map
}

// +kubebuilder:rbac:groups=runtime.galaxy.io,resources=gameruntimes,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=runtime.galaxy.io,resources=gameruntimes/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=runtime.galaxy.io,resources=gameruntimes/finalizers,verbs=update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=default,resources=leases,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=default,resources=leases,resourceNames=runtime-manager,verbs=get;update
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// Reconcile takes passes at one record until nothing can be done now. An error
// is a failure of our own store, where nothing is done; the engine's failures
// are outcomes, and their back-off stands in the record's status.
func (r *GameRuntimeReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	result, v, err := r.reconcile(ctx, request)
	switch {
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		// Somebody wrote first: the watch brings the newer record.
		result, v, err = ctrl.Result{RequeueAfter: 10 * time.Millisecond}, verdict{outcome: outcomeOutrun}, nil
	case err != nil:
		result, v = ctrl.Result{}, verdict{outcome: outcomeFailed}
	}
	r.reconciles.WithLabelValues(v.outcome, v.reason).Inc()
	return result, err
}

func (r *GameRuntimeReconciler) reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, verdict, error) {
	if err := r.journal.Loaded(ctx); err != nil {
		return ctrl.Result{}, verdict{}, err
	}
	record, err := r.fetch(ctx, request.NamespacedName)
	if apierrors.IsNotFound(err) {
		result, err := r.unrecorded(ctx, request.NamespacedName)
		return result, verdict{outcome: outcomeUnrecorded}, err
	}
	if err == nil {
		r.orphans.forget(engine.GameID(request.NamespacedName))
		r.herald.look(record)
		ctx = r.asked(ctx, record)
		err = r.claim(ctx, record)
	}
	for err == nil {
		if !controllerutil.ContainsFinalizer(record, v1alpha1.FinalizerEngine) || r.tooEarly(record) {
			return ctrl.Result{}, verdict{outcome: outcomeUntouched}, nil
		}
		var p plan.Plan
		if p, err = r.pass(ctx, record); err != nil {
			break
		}
		if wait, waits := p.Next().(plan.Wait); waits {
			return ctrl.Result{RequeueAfter: r.until(wait.Until, backstop)}, verdict{outcomeWaiting, wait.Reason}, nil
		}
		if p.InSync() {
			return ctrl.Result{RequeueAfter: r.until(p.Again, 0)}, verdict{outcome: outcomeInSync}, nil
		}
	}
	return ctrl.Result{}, verdict{}, err
}

// tooEarly says that nothing can be added to what a record tells: we have just
// started, and the engine's first answer, or that there is none, will wake all.
func (r *GameRuntimeReconciler) tooEarly(record *v1alpha1.GameRuntime) bool {
	return r.mirror.Fleet().Since.IsZero() && record.Status.ObservedGeneration == record.Generation
}

// pass is one round: at most one action, then one report. It returns what is
// left to do.
func (r *GameRuntimeReconciler) pass(ctx context.Context, record *v1alpha1.GameRuntime) (plan.Plan, error) {
	last := r.take(plan.GameOf(record))
	in := r.observe(ctx, record, last)
	p := plan.For(in)
	// What ended beside the queue, and a failure, is reported before anything new is begun.
	if _, ended := plan.Ended(in); last == nil && !ended && !plan.Failed(in) {
		next := p.Next()
		ctx = r.trace(ctx, plan.GameOf(record), next)
		acted, outcome, err := r.act(ctx, in, next)
		if err != nil {
			return p, err
		}
		if acted {
			in = r.observe(ctx, record, outcome)
			p = plan.For(in)
		}
	}
	in.Log = r.lastWords(ctx, in)
	tell := r.report
	if !record.DeletionTimestamp.IsZero() && p.InSync() {
		tell = r.release
	}
	if err := tell(ctx, record, plan.Status(in, p)); err != nil {
		return p, err
	}
	r.settle(in)
	r.carriedOut(record) // as it says now
	return p, nil
}

// take returns the outcome of what ended beside the queue, if anything did.
func (r *GameRuntimeReconciler) take(game engine.GameID) *plan.Outcome {
	last := r.work.take(game)
	if last == nil || last.Err != nil {
		return last
	}
	if pull, ok := last.Action.(plan.PullImage); ok {
		r.pulled.Store(game, pull.Ref)
	}
	return last
}

// fetch reads the record from the cache, or live while the cache has not
// caught up with our own last write.
func (r *GameRuntimeReconciler) fetch(ctx context.Context, name types.NamespacedName) (*v1alpha1.GameRuntime, error) {
	record := &v1alpha1.GameRuntime{}
	if err := r.client.Get(ctx, name, record); err != nil {
		return nil, err
	}
	ours, ok := r.written.Load(name)
	if !ok {
		return record, nil
	}
	order, err := resourceversion.CompareResourceVersion(record.ResourceVersion, ours.(string))
	if err == nil && order < 0 {
		err = r.live.Get(ctx, name, record)
	}
	return record, err
}

// observe gathers what the decision rests on. All of it is in memory, but for
// what only a game without a container, or a record being deleted, asks.
func (r *GameRuntimeReconciler) observe(ctx context.Context, record *v1alpha1.GameRuntime, last *plan.Outcome) plan.Input {
	in := r.facts(ctx, record, r.mirror.LookUpImage)
	in.Last = last
	in.Brake = r.brake.over(ctx, record, in.View)
	in.Health = r.probe(record, in.View)
	return in
}

// facts is observe without what looking itself sets going: probes, and the brake.
func (r *GameRuntimeReconciler) facts(ctx context.Context, record *v1alpha1.GameRuntime, find imageFinder) plan.Input {
	game := plan.GameOf(record)
	in := plan.Input{
		Record: record, View: plan.Adopted(record, r.mirror.View(game)), Fleet: r.mirror.Fleet(),
		ImageNow: r.mirror.ImageNow(record.Spec.Image),
		InHand:   r.work.inHand(game), Intents: r.intents(game), Settings: r.settings, Now: r.clock.Now(),
	}
	in.NamespaceDriftPolicy = r.namespacePolicy(ctx, record.Namespace)
	if _, adopted := record.Annotations[v1alpha1.AnnotationAdopted]; adopted || !record.DeletionTimestamp.IsZero() {
		in.StateExists = r.states.exists(game)
	}
	if in.Fleet.Reachable && plan.NeedsImage(in) {
		in.Image = r.image(ctx, record, find)
	}
	return in
}

// namespacePolicy reads the cache. A namespace that is not in it says nothing.
func (r *GameRuntimeReconciler) namespacePolicy(ctx context.Context, name string) v1alpha1.DriftPolicy {
	namespace := metav1.PartialObjectMetadata{TypeMeta: namespaces}
	if err := r.client.Get(ctx, types.NamespacedName{Name: name}, &namespace); err != nil {
		return ""
	}
	return v1alpha1.DriftPolicy(namespace.Annotations[v1alpha1.AnnotationDriftPolicy])
}

// imageFinder asks for one image by its reference.
type imageFinder func(ctx context.Context, ref string) (engine.Image, error)

// image looks up the game image. A look-up that fails is not the place to say
// so: the create that follows meets the same trouble, and its outcome tells.
func (r *GameRuntimeReconciler) image(ctx context.Context, record *v1alpha1.GameRuntime, find imageFinder) plan.Image {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	ref := record.Spec.Image
	found, err := find(ctx, ref)
	pulled, _ := r.pulled.Load(plan.GameOf(record))
	return plan.Image{
		Present: engine.KindOf(err) != engine.NotFound,
		Pulled:  pulled == ref,
		User:    found.User,
	}
}

// report writes the status, and tells of what changed once that is stored.
func (r *GameRuntimeReconciler) report(ctx context.Context, record *v1alpha1.GameRuntime, status v1alpha1.GameRuntimeStatus) error {
	if equality.Semantic.DeepEqual(record.Status, status) {
		return nil
	}
	before := record.DeepCopy()
	record.Status = status
	err := r.herald.replace(ctx, before, record, func() error {
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := r.client.Status().Patch(ctx, record, patch); err != nil {
			return fmt.Errorf("writing status: %w", err)
		}
		r.wrote(record)
		return nil
	})
	if err != nil {
		return err
	}
	for _, note := range plan.Story(before.Status, status) {
		r.tell(ctx, record, note)
	}
	return nil
}

func (r *GameRuntimeReconciler) tell(ctx context.Context, record *v1alpha1.GameRuntime, note plan.Note) {
	r.recorder.Eventf(record, nil, note.Type, note.Reason, note.Reason, "%s", shorten(note.Message))
	tracing.Log(ctx, r.log).Info(note.Reason, "game", plan.GameOf(record).String(), "message", note.Message)
}

// claim puts our finalizer on a record, so that its container cannot outlive it.
func (r *GameRuntimeReconciler) claim(ctx context.Context, record *v1alpha1.GameRuntime) error {
	if !record.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(record, v1alpha1.FinalizerEngine) {
		return nil
	}
	before := record.DeepCopy()
	controllerutil.AddFinalizer(record, v1alpha1.FinalizerEngine)
	return r.patchFinalizers(ctx, record, before)
}

// release lets a record go whose game left nothing on the engine, once all that
// happened to the game is told: nobody could tell it afterwards.
func (r *GameRuntimeReconciler) release(ctx context.Context, record *v1alpha1.GameRuntime, status v1alpha1.GameRuntimeStatus) error {
	if tellsMore(record, status) {
		if err := r.report(ctx, record, status); err != nil {
			return err
		}
	}
	if err := r.herald.settle(ctx, record); err != nil {
		return err
	}
	before := record.DeepCopy()
	controllerutil.RemoveFinalizer(record, v1alpha1.FinalizerEngine)
	if err := r.patchFinalizers(ctx, record, before); err != nil {
		return err
	}
	tracing.Log(ctx, r.log).Info("Released", "game", plan.GameOf(record).String())
	return nil
}

func (r *GameRuntimeReconciler) patchFinalizers(ctx context.Context, record, before *v1alpha1.GameRuntime) error {
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.client.Patch(ctx, record, patch); err != nil {
		return fmt.Errorf("writing finalizers: %w", err)
	}
	r.wrote(record)
	return nil
}

func (r *GameRuntimeReconciler) wrote(record *v1alpha1.GameRuntime) {
	r.written.Store(client.ObjectKeyFromObject(record), record.ResourceVersion)
}

func (r *GameRuntimeReconciler) forget(name types.NamespacedName) {
	r.written.Delete(name)
	r.carried.Delete(name)
	r.herald.forget(name)
	r.pulled.Delete(engine.GameID(name))
	r.work.abandon(engine.GameID(name))
	r.giveUp(engine.GameID(name))
	r.brake.forget(engine.GameID(name))
	r.prober.Forget(name)
}

// until is how long it is to a moment, or else where there is none; 0 leaves it
// to the sources.
func (r *GameRuntimeReconciler) until(at time.Time, otherwise time.Duration) time.Duration {
	if at.IsZero() {
		return otherwise
	}
	return max(at.Sub(r.clock.Now()), time.Millisecond)
}

// shorten keeps a note within what an Event may hold (1024 bytes).
func shorten(message string) string {
	const limit = 1000
	if len(message) <= limit {
		return message
	}
	return message[:limit] + "…"
}
