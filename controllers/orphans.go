package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// orphans remembers the games that have containers of ours and no record. It is
// lost with the process: the grace period then begins anew. Its zero value only
// reports.
type orphans struct {
	policy plan.OrphanPolicy
	grace  time.Duration
	// vouch says why the platform does not stand for a game, which is then not
	// adopted; nil if nobody can be asked.
	vouch func(context.Context, engine.GameID) error
	// changed is told when what is reported changed.
	changed func()

	mu    sync.Mutex
	games map[engine.GameID]*orphaned
}

type orphaned struct {
	firstSeen map[string]time.Time // by container id
	items     []v1alpha1.DriftItem
	trouble   string
	// refusal is why no record could be made; it is tried again at nextTry.
	refusal string
	nextTry time.Time
}

// unrecorded deals with a game that has no record. A record that goes takes its
// containers along, by its finalizer: what is there now is not its own any more.
func (r *GameRuntimeReconciler) unrecorded(ctx context.Context, name types.NamespacedName) (ctrl.Result, error) {
	game := engine.GameID(name)
	view := r.mirror.View(game)
	fresh := r.orphans.meet(game, view, r.clock.Now())
	for _, c := range fresh {
		r.log.Info("container without a record", "game", game.String(), "container", c.ID, "name", c.Name, "image", c.Image)
	}
	if len(fresh) == len(view.Containers) { // nothing is left of what was known of the game
		r.forget(name)
	}
	if last := r.take(game); failed(last) {
		return r.troubled(game, last), nil
	}
	for {
		in := r.observeOrphans(game)
		next := plan.ForOrphans(in).Next()
		r.orphans.tell(game, plan.OrphanDrift(in))
		if wait, waits := next.(plan.Wait); waits {
			return ctrl.Result{RequeueAfter: r.until(wait.Until, backstop)}, nil
		}
		if next == nil {
			return ctrl.Result{}, nil
		}
		recorded, err := r.recorded(ctx, name)
		if err != nil {
			return ctrl.Result{}, err
		}
		if recorded {
			return ctrl.Result{RequeueAfter: 10 * time.Millisecond}, nil // the watch brings it
		}
		outcome, err := r.actOnOrphan(ctx, in, next)
		switch {
		case err != nil:
			return ctrl.Result{}, err
		case outcome == nil: // it goes on beside the queue, and its end wakes the game
			return ctrl.Result{RequeueAfter: backstop}, nil
		case failed(outcome):
			return r.troubled(game, outcome), nil
		}
	}
}

func failed(outcome *plan.Outcome) bool { return outcome != nil && outcome.Err != nil }

// actOnOrphan does the next action. A stop goes on beside the queue: it has no
// outcome yet.
func (r *GameRuntimeReconciler) actOnOrphan(ctx context.Context, in plan.Orphans, next plan.Action) (*plan.Outcome, error) {
	if adopt, ok := next.(plan.AdoptContainer); ok {
		began := r.clock.Now()
		err := r.adopt(ctx, in, adopt)
		r.work.metrics.count(next, r.clock.Since(began), err)
		return &plan.Outcome{Action: next}, err
	}
	nobody := &v1alpha1.GameRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: in.Game.Namespace, Name: in.Game.Name}}
	_, outcome, err := r.act(r.trace(ctx, in.Game, next), plan.Input{Record: nobody, View: in.View, Now: in.Now}, next)
	if err == nil && outcome != nil && outcome.Err == nil {
		r.log.Info("orphan dealt with", "game", in.Game.String(), "action", next.String())
	}
	return outcome, err
}

func (r *GameRuntimeReconciler) observeOrphans(game engine.GameID) plan.Orphans {
	known := r.orphans.of(game)
	return plan.Orphans{
		Game: game, View: r.mirror.View(game), Fleet: r.mirror.Fleet(), FirstSeen: known.firstSeen, InHand: r.work.inHand(game),
		Refusal: known.refusal, NextTry: known.nextTry,
		Policy: r.orphans.policy, Grace: r.orphans.grace, Settings: r.settings, Now: r.clock.Now(),
	}
}

// recorded asks the store itself, before anything is touched: the cache may be
// late.
func (r *GameRuntimeReconciler) recorded(ctx context.Context, name types.NamespacedName) (bool, error) {
	nameable := plan.Nameable(engine.GameID(name)) == nil
	if !nameable {
		return false, nil // no record can have this name
	}
	err := r.live.Get(ctx, name, &v1alpha1.GameRuntime{})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("looking for the record of an orphan: %w", err)
	}
	return !apierrors.IsNotFound(err), nil
}

// troubled tries again later, and says why once.
func (r *GameRuntimeReconciler) troubled(game engine.GameID, outcome *plan.Outcome) ctrl.Result {
	if why := outcome.Err.Error(); r.orphans.trouble(game, why) {
		r.log.Info("orphan not dealt with", "game", game.String(), "action", outcome.Action.String(), "reason", why)
	}
	return ctrl.Result{RequeueAfter: backstop}
}

// meet notes what a game without a record shows, and returns what is new. A
// container that is gone is forgotten.
func (o *orphans) meet(game engine.GameID, view engine.View, now time.Time) (fresh []engine.Container) {
	if len(view.Containers) == 0 {
		o.forget(game)
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.games[game]
	seen := map[string]time.Time{}
	for _, c := range view.Containers {
		since, again := time.Time{}, false
		if known != nil {
			since, again = known.firstSeen[c.ID]
		}
		if !again {
			since, fresh = now, append(fresh, c)
		}
		seen[c.ID] = since
	}
	if known == nil {
		known = &orphaned{}
		if o.games == nil {
			o.games = map[engine.GameID]*orphaned{}
		}
		o.games[game] = known
	}
	known.firstSeen = seen
	return fresh
}

// forget drops a game that has a record, or no container.
func (o *orphans) forget(game engine.GameID) {
	o.mu.Lock()
	_, known := o.games[game]
	delete(o.games, game)
	o.mu.Unlock()
	if known {
		o.tellChanged()
	}
}

func (o *orphans) of(game engine.GameID) orphaned {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known := o.games[game]; known != nil {
		return *known
	}
	return orphaned{}
}

// refuse keeps why a game has no record still, and until when that is left at.
func (o *orphans) refuse(game engine.GameID, why string, nextTry time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known := o.games[game]; known != nil {
		known.refusal, known.nextTry = why, nextTry
	}
}

// tell keeps what is to be reported of a game.
func (o *orphans) tell(game engine.GameID, items []v1alpha1.DriftItem) {
	o.mu.Lock()
	known := o.games[game]
	news := known != nil && !slices.Equal(known.items, items)
	if news {
		known.items = items
	}
	o.mu.Unlock()
	if news {
		o.tellChanged()
	}
}

// trouble says whether a game's trouble is another one than before.
func (o *orphans) trouble(game engine.GameID, text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.games[game]
	if known == nil || known.trouble == text {
		return false
	}
	known.trouble = text
	return true
}

// report returns what is told of all orphans, in no order.
func (o *orphans) report() []v1alpha1.DriftItem {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []v1alpha1.DriftItem
	for _, game := range o.games {
		all = append(all, game.items...)
	}
	return all
}

func (o *orphans) tellChanged() {
	if o.changed != nil {
		o.changed()
	}
}
