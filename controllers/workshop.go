package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

const (
	// stopsBegun bounds the stops that are asked of the engine at once; pulls have
	// bounds of their own. A stop that waits out a grace period costs it nothing, so
	// a stop counts only for its first stopBegin: any number of stubborn games hold
	// back no other.
	stopsBegun = 64
	stopBegin  = time.Second
	// A worker waits for a call for patience times what calls took of late, and
	// for leastLinger at least: then it is the game that hangs, not an engine
	// that is busy.
	leastLinger = time.Second
	patient     = 4
)

// workshop makes the engine calls: at most one for a game, and none that holds a
// worker for long. Pulls and stops go on beside the queue from the beginning,
// any other call once it takes too long. The end of a call that nobody waits for
// wakes its game, whose next pass takes the outcome. What it knows is lost with
// the process; the engine's list then shows what came of it.
type workshop struct {
	clock   clock.PassiveClock
	wake    func(engine.GameID)
	pulls   *pulls
	stops   chan struct{}
	metrics actionMetrics

	mu       sync.Mutex
	usual    time.Duration // what a call took of late that succeeded
	jobs     map[engine.GameID]*job
	ctx      context.Context // of all jobs, from Start on
	stopJobs context.CancelFunc
	running  sync.WaitGroup
}

type job struct {
	work    plan.Work
	cancel  context.CancelFunc
	ended   chan struct{}
	quick   bool          // it was expected to end soon: its time counts
	awaited bool          // a worker waits for the end
	outcome *plan.Outcome // set once it ended
}

func newWorkshop(c clock.PassiveClock, wake func(engine.GameID), pulls *pulls) *workshop {
	w := &workshop{
		clock: c, wake: wake, pulls: pulls, jobs: map[engine.GameID]*job{}, stops: make(chan struct{}, stopsBegun),
		metrics: newActionMetrics(),
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

// do makes a call for a game in place of the one in hand, if any, and returns
// its outcome; nil if it takes longer than calls do, and goes on.
func (w *workshop) do(game engine.GameID, work plan.Work, timeout time.Duration, call func(context.Context) error) *plan.Outcome {
	j := &job{work: work, quick: true, awaited: true}
	linger := w.start(game, j, timeout, call)
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-j.ended:
	case <-timer.C:
	}
	w.mu.Lock()
	j.awaited = false
	w.mu.Unlock()
	return w.take(game)
}

// begin starts a call for a game in place of the one in hand, if any.
func (w *workshop) begin(game engine.GameID, work plan.Work, timeout time.Duration, call func(context.Context) error) {
	w.start(game, &job{work: work}, timeout, call)
}

// start begins a call, and says how long one may be waited for.
func (w *workshop) start(game engine.GameID, j *job, timeout time.Duration, call func(context.Context) error) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropLocked(game)
	var ctx context.Context
	ctx, j.cancel = context.WithTimeout(w.ctx, timeout)
	j.work.Since = w.clock.Now()
	j.work.Deadline = j.work.Since.Add(timeout)
	j.ended = make(chan struct{})
	w.jobs[game] = j
	w.running.Go(func() {
		defer j.cancel()
		err := w.inTurn(ctx, j.work.Action, call)
		if w.end(game, j, err) {
			w.wake(game)
		}
	})
	return max(leastLinger, patient*w.usual)
}

// end notes the outcome of a call, and says whether its game is to be woken.
func (w *workshop) end(game engine.GameID, j *job, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.outcome = &plan.Outcome{Action: j.work.Action, Operation: j.work.Operation, Err: err}
	close(j.ended)
	took := w.clock.Since(j.work.Since)
	w.metrics.count(j.work.Action, took, err)
	if j.quick && err == nil {
		w.usual += (took - w.usual) / 8
	}
	return w.jobs[game] == j && !j.awaited
}

// inTurn makes the call once fewer than the most of its verb are in flight.
func (w *workshop) inTurn(ctx context.Context, action plan.Action, call func(context.Context) error) error {
	if _, stop := action.(plan.StopContainer); !stop {
		return call(ctx)
	}
	select {
	case w.stops <- struct{}{}:
		release := sync.OnceFunc(func() { <-w.stops })
		defer release()
		defer time.AfterFunc(stopBegin, release).Stop()
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
