package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// stopsInFlight is how many stops go on at most. Pulls have bounds of their own:
// one verb that hangs cannot hold back the other.
const stopsInFlight = 64

// workshop runs slow engine calls, pulls and stops, beside the queue: at most
// one for a game, none holding a worker. The end of a call wakes its game, whose
// next pass takes the outcome. What it knows is lost with the process; the
// engine's list then shows what came of it.
type workshop struct {
	clock clock.PassiveClock
	wake  func(engine.GameID)
	pulls *pulls
	stops chan struct{}

	mu       sync.Mutex
	jobs     map[engine.GameID]*job
	ctx      context.Context // of all jobs, from Start on
	stopJobs context.CancelFunc
	running  sync.WaitGroup
}

type job struct {
	work    plan.Work
	cancel  context.CancelFunc
	outcome *plan.Outcome // set once it ended
}

func newWorkshop(c clock.PassiveClock, wake func(engine.GameID), pulls *pulls) *workshop {
	w := &workshop{
		clock: c, wake: wake, pulls: pulls, jobs: map[engine.GameID]*job{}, stops: make(chan struct{}, stopsInFlight),
	}
	w.ctx, w.stopJobs = context.WithCancel(context.Background())
	return w
}

// Start waits for the end and then for the calls in flight, whose contexts end
// with it: the engine finishes what it has begun.
func (w *workshop) Start(ctx context.Context) error {
	<-ctx.Done()
	w.stopJobs()
	w.running.Wait()
	w.pulls.running.Wait()
	return nil
}

// begin starts a call for a game in place of the one in hand, if any.
func (w *workshop) begin(game engine.GameID, action plan.Action, timeout time.Duration, call func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked(game)
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	now := w.clock.Now()
	j := &job{work: plan.Work{Action: action, Since: now, Deadline: now.Add(timeout)}, cancel: cancel}
	w.jobs[game] = j
	w.running.Add(1)
	go func() {
		defer w.running.Done()
		defer cancel()
		err := w.inTurn(ctx, action, call)
		w.mu.Lock()
		j.outcome = &plan.Outcome{Action: action, Err: err}
		current := w.jobs[game] == j
		w.mu.Unlock()
		if current {
			w.wake(game)
		}
	}()
}

// inTurn makes the call once fewer than the most of its verb are in flight.
func (w *workshop) inTurn(ctx context.Context, action plan.Action, call func(context.Context) error) error {
	if _, pull := action.(plan.PullImage); pull {
		return call(ctx)
	}
	select {
	case w.stops <- struct{}{}:
		defer func() { <-w.stops }()
		return call(ctx)
	case <-ctx.Done():
		return &engine.Error{Op: action.String(), Kind: engine.Timeout, Err: ctx.Err()}
	}
}

// inHand is the call that goes on for a game; nil if there is none.
func (w *workshop) inHand(game engine.GameID) *plan.Work {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := w.jobs[game]; j != nil && j.outcome == nil {
		work := j.work
		if _, pull := work.Action.(plan.PullImage); pull {
			work.Queued = w.pulls.queued(game)
		}
		return &work
	}
	return nil
}

// stopping says that a stop of the game goes on.
func (w *workshop) stopping(game engine.GameID) bool {
	work := w.inHand(game)
	if work == nil {
		return false
	}
	_, stop := work.Action.(plan.StopContainer)
	return stop
}

// take returns the outcome of a call that ended, once.
func (w *workshop) take(game engine.GameID) *plan.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[game]
	if j == nil || j.outcome == nil {
		return nil
	}
	delete(w.jobs, game)
	return j.outcome
}

// abandon gives up what goes on for a game that nobody declares any more.
func (w *workshop) abandon(game engine.GameID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked(game)
}

func (w *workshop) dropLocked(game engine.GameID) {
	if j := w.jobs[game]; j != nil {
		j.cancel()
		delete(w.jobs, game)
	}
}
