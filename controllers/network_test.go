package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// The network is joined when the engine comes to be reachable, and after a
// failure until it is.
func TestTheVisitorComesWithTheEngine(t *testing.T) {
	sim := enginetest.NewSim()
	sim.Inject(enginetest.Fault{Verb: "JoinNetwork", On: "galaxy", Kind: engine.Failed, Call: 1})
	v := newVisitor(sim, "galaxy", logr.Discard())
	v.pause = time.Millisecond
	v.engineChanged(engine.Fleet{Reachable: true}) // before it runs: it may have to wait for the lead

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.Start(ctx) }()
	joined := func(calls int) func() bool {
		return func() bool { return sim.Calls("JoinNetwork") == calls }
	}
	require.Eventually(t, joined(2), time.Minute, time.Millisecond, "it failed once")

	v.engineChanged(engine.Fleet{})
	v.engineChanged(engine.Fleet{Reachable: true})
	require.Eventually(t, joined(3), time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.Equal(t, 3, sim.Calls("JoinNetwork"), "an engine that is away is no reason")
}
