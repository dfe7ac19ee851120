package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/plan"
)

// intend writes down what is about to be done. If it fails, nothing may be done:
// least of all by a replica that does not know whether another one leads by now.
func (r *GameRuntimeReconciler) intend(ctx context.Context, in plan.Input, next plan.Action) (plan.Intent, error) {
	if err := r.leads(); err != nil {
		return plan.Intent{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return plan.Intent{}, fmt.Errorf("naming an operation: %w", err)
	}
	intent := *plan.IntentTo(next, in.View)
	intent.ID, intent.At = id.String(), r.clock.Now()
	intent.Deadline = intent.At.Add(timeLimit(next))
	return intent, r.journal.Begin(ctx, journal.Intent{
		ID: intent.ID, Game: types.NamespacedName(plan.GameOf(in.Record)), UID: string(in.Record.UID), Generation: in.Record.Generation,
		Action: intent.Action, Container: intent.Container, Run: intent.Run,
		Cause: string(intent.Cause), Why: intent.Why, By: in.Record.AskedBy(), At: intent.At, Deadline: intent.Deadline,
	})
}

// timeLimit is when a call is given up.
func timeLimit(next plan.Action) time.Duration {
	if stop, ok := next.(plan.StopContainer); ok {
		return stop.Grace + stopMargin
	}
	return changeTimeout
}

// finish writes down what came of an intent.
func (r *GameRuntimeReconciler) finish(game engine.GameID, finished plan.Intent) {
	r.journal.Finish(types.NamespacedName(game), finished.ID, journal.Result{
		Outcome: finished.Outcome, Code: finished.Code, Message: finished.Message, FinishedAt: r.clock.Now(),
	})
}

// settle finishes what nobody answered, and the view tells by now.
func (r *GameRuntimeReconciler) settle(in plan.Input) {
	game := plan.GameOf(in.Record)
	for _, intent := range plan.Settled(in) {
		r.finish(game, intent)
		r.log.Info("Settled", "game", game.String(), "operation", intent.ID, "action", intent.Action,
			"outcome", intent.Outcome, "message", intent.Message)
	}
}

// intents are what the journal remembers of a game.
func (r *GameRuntimeReconciler) intents(game engine.GameID) []plan.Intent {
	remembered := r.journal.Intents(types.NamespacedName(game))
	intents := make([]plan.Intent, 0, len(remembered))
	for _, i := range remembered {
		intents = append(intents, plan.Intent{
			ID: i.ID, Action: i.Action, Container: i.Container, Run: i.Run, Cause: v1alpha1.TerminationReason(i.Cause), Why: i.Why,
			By: i.By, At: i.At, Deadline: i.Deadline, Outcome: i.Outcome, Code: i.Code, Message: i.Message,
		})
	}
	return intents
}

// giveUp closes what a game left open whose record is gone: nobody will ask.
func (r *GameRuntimeReconciler) giveUp(game engine.GameID) {
	for _, intent := range r.intents(game) {
		if intent.Outcome == "" {
			intent.Outcome, intent.Message = v1alpha1.OperationUnknown, "its record is gone"
			r.finish(game, intent)
		}
	}
	r.journal.Forget(types.NamespacedName(game))
}

// journalist loads what whoever led before left open. It runs where this
// replica leads.
type journalist struct {
	journal *journal.Journal
	brake   *brake
	wake    func(engine.GameID)
}

// Start loads, and looks at the games in question, with a record or without.
func (j journalist) Start(ctx context.Context) error {
	for _, intent := range j.journal.Load(ctx) {
		game := engine.GameID(intent.Game)
		if intent.Action == v1alpha1.ActionRemove {
			j.brake.explain(game, intent.Container)
		}
		if intent.Outcome == "" {
			j.wake(game)
		}
	}
	return nil
}
