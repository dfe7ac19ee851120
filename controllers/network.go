package controllers

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// network remembers that the installation's network is there, until a failure
// puts that in doubt.
type network struct {
	mu    sync.Mutex
	there bool
}

// ensure lets one of many games that start together make it.
func (n *network) ensure(ctx context.Context, e engine.Engine, settings plan.Settings) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.there {
		return nil
	}
	if err := e.EnsureNetwork(ctx, settings.Network, settings.Installation); err != nil {
		return err
	}
	n.there = true
	return nil
}

func (n *network) doubt() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.there = false
}

// visitor brings this process to the games' network whenever the engine comes to
// be reachable: games may run there that are probed, and none be made for long.
type visitor struct {
	engine  engine.Engine
	network string
	log     logr.Logger
	// pause is how long it waits after a failure.
	pause   time.Duration
	reached chan struct{}
}

func newVisitor(e engine.Engine, network string, log logr.Logger) visitor {
	return visitor{engine: e, network: network, log: log, pause: 10 * time.Second, reached: make(chan struct{}, 1)}
}

// engineChanged never blocks.
func (v visitor) engineChanged(fleet engine.Fleet) {
	if !fleet.Reachable {
		return
	}
	select {
	case v.reached <- struct{}{}:
	default: // it is about to go there
	}
}

// Start runs where this replica leads: no other probes.
func (v visitor) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.reached:
			v.join(ctx)
		}
	}
}

// join tries until it is there. An engine that went away is tried, too: it comes
// back.
func (v visitor) join(ctx context.Context) {
	failed := false
	_ = wait.PollUntilContextCancel(ctx, v.pause, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, changeTimeout)
		defer cancel()
		err := v.engine.JoinNetwork(ctx, v.network)
		switch {
		case err != nil && !failed:
			v.log.Info("cannot join the games' network", "network", v.network, "reason", err.Error())
		case err == nil && failed:
			v.log.Info("joined the games' network", "network", v.network)
		}
		failed = err != nil
		return !failed, nil
	}) // it fails when ctx ends alone
}
