package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// adoptAgain is when a record that could not be made is tried again: its
// namespace may be there by then.
const adoptAgain = 5 * time.Minute

// adopt makes a record from a container. The container is not touched. What the
// API, a missing image, or the platform has against the record is told in the
// report; an error is a failure of our own store.
func (r *GameRuntimeReconciler) adopt(ctx context.Context, in plan.Orphans, a plan.AdoptContainer) error {
	i := slices.IndexFunc(in.View.Containers, func(c engine.Container) bool { return c.ID == a.ID })
	c := &in.View.Containers[i]
	if vouch := r.orphans.vouch; vouch != nil {
		if err := vouch(ctx, in.Game); err != nil {
			r.refuse(in.Game, err)
			return nil
		}
	}
	image, err := r.adoptedImage(ctx, c)
	if err != nil {
		r.refuse(in.Game, err)
		return nil
	}
	adoption := plan.Adopt(c, image, r.settings)
	err = r.client.Create(ctx, adoption.Record)
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil // the next round finds it
	case refusesForGood(err):
		r.refuse(in.Game, err)
		return nil
	case err != nil:
		return fmt.Errorf("making a record of container %.12s: %w", c.ID, err)
	}
	note := fmt.Sprintf("made this record from container %s", c.Name)
	if len(adoption.Differs) > 0 {
		note += "; observed only, because a container made from it would differ: " + strings.Join(adoption.Differs, ", ")
	}
	r.recorder.Eventf(adoption.Record, nil, corev1.EventTypeNormal, v1alpha1.ReasonAdopted, v1alpha1.ReasonAdopted, "%s", shorten(note))
	r.log.Info(v1alpha1.ReasonAdopted, "game", in.Game.String(), "message", note)
	return nil
}

func (r *GameRuntimeReconciler) adoptedImage(ctx context.Context, c *engine.Container) (engine.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	return r.engine.InspectImage(ctx, c.ImageID)
}

// refusesForGood says that the same record will be refused again.
func refusesForGood(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && !apierrors.IsConflict(err) && !apierrors.IsTooManyRequests(err)
}

func (r *GameRuntimeReconciler) refuse(game engine.GameID, err error) {
	if r.orphans.trouble(game, err.Error()) {
		r.log.Info("orphan not adopted", "game", game.String(), "reason", err.Error())
	}
	r.orphans.refuse(game, err.Error(), r.clock.Now().Add(adoptAgain))
}
