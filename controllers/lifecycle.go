package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/probe"
)

const (
	// lastLines are read of a game's log, within logTimeout.
	lastLines  = 30
	logTimeout = 2 * time.Second
	// leastStop is what a stop gets at least where its preStop used the grace
	// period up.
	leastStop = 2 * time.Second
)

// lastWords are what a game wrote before an end that is not reported yet.
// Evidence that cannot be had is no failure of anything.
func (r *GameRuntimeReconciler) lastWords(ctx context.Context, in plan.Input) string {
	id, ended := plan.Ended(in)
	if !ended || id == "" || !in.Fleet.Reachable || hangs(in) {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	text, _ := r.engine.Logs(ctx, id, lastLines) // see above
	return text
}

// preStop runs what the record wants to be run before a stop, and returns what
// that left of the grace period. That it fails is told, and holds nothing up.
func (r *GameRuntimeReconciler) preStop(ctx context.Context, in plan.Input, a plan.StopContainer) time.Duration {
	if a.PreStop == nil {
		return a.Grace
	}
	begin := r.clock.Now()
	within, cancel := context.WithTimeout(ctx, a.Grace)
	defer cancel()
	err := r.handle(within, in.View, a.ID, *a.PreStop)
	if err != nil && ctx.Err() == nil { // else it is us who end
		r.tell(ctx, in.Record, plan.Note{
			Type: corev1.EventTypeWarning, Reason: v1alpha1.ReasonPreStopFailed, Message: "preStop failed: " + err.Error(),
		})
	}
	return max(a.Grace-r.clock.Since(begin), leastStop)
}

func (r *GameRuntimeReconciler) handle(ctx context.Context, view engine.View, id string, handler v1alpha1.LifecycleHandler) error {
	switch {
	case handler.HTTPGet != nil:
		for _, c := range view.Containers {
			if c.ID == id && c.IP != "" {
				return probe.CheckHTTP(ctx, c.IP, *handler.HTTPGet)
			}
		}
		return errors.New("the game's address is not known")
	case handler.Exec != nil:
		result, err := r.engine.Exec(ctx, id, handler.Exec.Command)
		switch {
		case engine.KindOf(err) == engine.Timeout:
			return fmt.Errorf("%s did not end within the grace period", handler.Exec.Command[0])
		case err != nil:
			return err
		case result.Code != 0:
			return fmt.Errorf("%s ended with exit code %d: %s", handler.Exec.Command[0], result.Code, strings.TrimSpace(result.Output))
		}
	}
	return nil
}
