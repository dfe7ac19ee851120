//go:build integration

package app

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	eventsv1 "k8s.io/api/events/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// TestPreStop: it runs before the stop, and one that fails holds nothing up.
func TestPreStop(t *testing.T) {
	m := startManager(t, nil)
	for name, handler := range map[string]*v1alpha1.LifecycleHandler{
		"prepared": {HTTPGet: &v1alpha1.HTTPGetAction{Path: "/prestop", Port: 8080}},
		"refused":  {HTTPGet: &v1alpha1.HTTPGetAction{Path: "/no-such-page", Port: 8080}},
		"missing":  {Exec: &v1alpha1.ExecAction{Command: []string{"/no-such-program"}}},
	} {
		g := game(name)
		g.Spec.Lifecycle.PreStop = handler
		m.create(g)
	}
	for _, name := range []string{"prepared", "refused", "missing"} {
		m.awaitReady(name)
		begin := time.Now()
		m.update(name, func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
		g := m.await(name, "Stopped", func(g *v1alpha1.GameRuntime) bool { return g.Status.Phase == v1alpha1.PhaseStopped })
		end := g.Status.LastTermination
		require.Equal(t, v1alpha1.TerminationStoppedByUs, end.Reason)
		require.Zero(t, end.ExitCode, "it ended by itself, not by a SIGKILL: after %s", time.Since(begin))
		failed := m.heard(name, v1alpha1.ReasonPreStopFailed)
		if name == "prepared" {
			require.Contains(t, end.Log, "nothing to store before the stop")
			require.False(t, failed())
			continue
		}
		m.eventually("the failure is told", failed)
	}
}

// heard says whether an Event of that reason was told of a game.
func (m *manager) heard(name, reason string) func() bool {
	return func() bool {
		var all eventsv1.EventList
		require.NoError(m.t, m.List(context.Background(), &all, inDefault))
		for _, e := range all.Items {
			if e.Regarding.Name == name && e.Reason == reason {
				return true
			}
		}
		return false
	}
}
