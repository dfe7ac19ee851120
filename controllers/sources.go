package controllers

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Priorities in the queue: what happened to a running game first, then people's
// writes (0, the library's default), then sweeps over all games.
const (
	priorityEvent = 100
	prioritySweep = -50
)

// sources feed the queue with what is not a record: the engine, the probes and
// the ends of slow calls. They keep the queue and add to it, which never
// blocks; what comes before the queue is there is dropped, since its first list
// brings every record, and its start every game that has a container.
type sources struct {
	records client.Reader
	// games are those that have containers: some may have no record. It may be nil.
	games func() []engine.GameID

	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
	ctx   context.Context // of the queue
}

// Start keeps the queue.
func (s *sources) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.mu.Lock()
	s.queue, s.ctx = queue, ctx
	s.mu.Unlock()
	s.sweepEngine()
	return nil
}

// gameChanged tells that the picture of a game, or slow work on it, changed.
func (s *sources) gameChanged(game engine.GameID) { s.probeChanged(types.NamespacedName(game)) }

// probeChanged tells that a verdict on a game changed.
func (s *sources) probeChanged(name types.NamespacedName) {
	s.add(priorityEvent, ctrl.Request{NamespacedName: name})
}

// engineChanged tells that the engine went away or came back: the business of
// every record, and of every container that may have none.
func (s *sources) engineChanged(engine.Fleet) {
	s.mu.Lock()
	ctx := s.ctx
	s.mu.Unlock()
	if ctx == nil {
		return
	}
	s.add(prioritySweep, s.requests(ctx)...)
	s.sweepEngine() // the queue holds each once
}

// gamesIn are the games of a namespace whose annotations changed.
func (s *sources) gamesIn(ctx context.Context, namespace client.Object) []ctrl.Request {
	return s.requests(ctx, client.InNamespace(namespace.GetName()))
}

func (s *sources) requests(ctx context.Context, options ...client.ListOption) []ctrl.Request {
	var all v1alpha1.GameRuntimeList
	if err := s.records.List(ctx, &all, options...); err != nil {
		return nil // only a cache that ends fails to list
	}
	requests := make([]ctrl.Request, len(all.Items))
	for i := range all.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&all.Items[i])
	}
	return requests
}

// sweepEngine has the games looked at that have containers.
func (s *sources) sweepEngine() {
	if s.games != nil {
		s.sweep(s.games()...)
	}
}

// sweep has many games looked at, none of them urgently.
func (s *sources) sweep(games ...engine.GameID) {
	requests := make([]ctrl.Request, len(games))
	for i, game := range games {
		requests[i].NamespacedName = types.NamespacedName(game)
	}
	s.add(prioritySweep, requests...)
}

func (s *sources) add(priority int, requests ...ctrl.Request) {
	s.mu.Lock()
	queue := s.queue
	s.mu.Unlock()
	switch queue := queue.(type) {
	case nil:
	case priorityqueue.PriorityQueue[reconcile.Request]:
		queue.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, requests...)
	default:
		for _, r := range requests {
			queue.Add(r)
		}
	}
}
