package probe

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

const (
	// idle is how long the scheduler waits when there is nothing to probe; Watch
	// wakes it.
	idle = time.Hour
	// slack is how late a check may be made, so that the scheduler wakes once for
	// all that are due by then: a process that wakes for each spends more on waking
	// than on checks. It adds up to nothing: a period counts from when a check was due.
	slack = 100 * time.Millisecond
	// moment is how long a check counts as one that is answered at once. One that
	// takes longer makes room for others, and is checked among the slow next time.
	moment = 100 * time.Millisecond
	// slowShare is how many slots for the slow there are for each other one, and
	// newlySlow how many times as many checks may go on there that took their
	// moment elsewhere: one that was never slow before does not wait for those that
	// were, and nobody for it.
	slowShare = 16
	newlySlow = 4
	// execSlots is how many programs are run at once: each costs the engine more
	// than a connection, and so they are never among the quick.
	execSlots = 8
)

// lane is a queue of probes that share slots. Those that were answered late the
// last time wait in a lane of their own, so that however many hang, they are late
// themselves, and nobody else is.
type lane struct {
	queue dueQueue
	busy  int
	limit int
}

// flight is a check under way.
type flight struct {
	probe  *probe
	target Target
	slot   *lane // that it takes a slot of
	began  time.Time
	late   bool // it takes longer than a moment
	ctx    context.Context
	cancel context.CancelFunc
	over   chan struct{} // closed at its end
}

// Run probes until ctx ends, and returns nil then. Checks under way end with it.
func (p *Prober) Run(ctx context.Context) error {
	timer := p.options.Clock.NewTimer(idle)
	defer timer.Stop()
	defer p.programs.abandon()
	defer p.running.Wait()
	for {
		p.launch(ctx, timer)
		select {
		case <-timer.C():
		case <-p.woken:
		case <-ctx.Done():
			return nil
		}
	}
}

// launch begins the checks that are due, and sets the timer for the next.
func (p *Prober) launch(ctx context.Context, timer clock.Timer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, wait := p.options.Clock.Now(), idle
	for _, l := range []*lane{&p.brisk, &p.slow, &p.execs} {
		for l.busy < l.limit && len(l.queue) > 0 {
			if early := l.queue[0].due.Sub(now); early > 0 {
				wait = min(wait, early)
				break
			}
			f := p.boardLocked(ctx, l, now)
			p.running.Go(func() { p.fly(ctx, f) })
		}
	}
	wait = max(wait, slack)
	p.wakeAt = now.Add(wait)
	timer.Reset(wait)
}

// boardLocked takes the probe that is first in a lane, and a slot for its check.
func (p *Prober) boardLocked(ctx context.Context, l *lane, now time.Time) *flight {
	pr := heap.Pop(&l.queue).(*probe)
	p.metrics.delay.Observe(now.Sub(pr.due).Seconds())
	f := &flight{probe: pr, target: pr.game.target, slot: l, began: now, over: make(chan struct{})}
	f.ctx, f.cancel = context.WithTimeout(ctx, pr.timeout)
	pr.flight, p.flights[f] = f, struct{}{}
	l.busy++
	return f
}

// fly makes a check.
func (p *Prober) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	timer := time.AfterFunc(p.moment, func() { p.overstay(f) })
	a := p.ask(f.ctx, f.target, f.probe.question)
	timer.Stop()
	p.land(f, a, ctx.Err() != nil)
}

// ask makes one check.
func (p *Prober) ask(ctx context.Context, target Target, q question) answer {
	var a answer
	switch {
	case target.Address == "" && !q.runsProgram():
		a.err = errors.New("the game has no address")
	case q.progress != nil:
		a.number, a.err = p.options.Measure(ctx, target, *q.progress)
	default:
		a.err = p.options.Check(ctx, target, *q.check)
	}
	return a
}

// overstay has a check that took its moment go on among the slow.
func (p *Prober) overstay(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.late = true
	if f.slot == &p.brisk && p.slow.busy < newlySlow*p.slow.limit && p.underWayLocked(f) {
		p.vacateLocked(f)
		f.slot = &p.slow
		f.slot.busy++
	}
}

func (p *Prober) underWayLocked(f *flight) bool {
	_, ok := p.flights[f]
	return ok
}

// vacateLocked gives a slot back, to whoever may wait for it.
func (p *Prober) vacateLocked(f *flight) {
	f.slot.busy--
	if f.slot.busy == f.slot.limit-1 {
		p.wakeLocked()
	}
}

// land brings the answer to a check into the verdict, and the probe back into
// the schedule, unless it was broken off by us. Only a verdict that changed is
// told.
func (p *Prober) land(f *flight, a answer, broken bool) {
	pr := f.probe
	p.mu.Lock()
	delete(p.flights, f)
	close(f.over)
	p.vacateLocked(f)
	pr.flight, pr.lane = nil, p.laneOf(pr, f.late)
	if broken || pr.retired {
		p.mu.Unlock()
		return
	}
	now, first := p.options.Clock.Now(), pr.verdict == v1alpha1.VerdictUnknown
	p.metrics.checked(pr.kind, now.Sub(f.began), a)
	changed := pr.take(a, now)
	pr.due = p.nextDue(pr, now, first && changed)
	if pr.asked() {
		p.pushLocked(pr)
	}
	if changed {
		p.scheduleLocked(pr.game, now)
	}
	name, verdict, message := pr.game.target.Game, pr.verdict, pr.message
	p.mu.Unlock()
	if changed {
		p.metrics.verdicts.WithLabelValues(pr.kind, verdict).Inc()
		log := p.options.Log
		if first && verdict == v1alpha1.VerdictSucceeding {
			log = log.V(1) // so do all probes of a game that starts: that it is Ready says as much
		}
		log.Info("probe verdict", "game", name.String(), "probe", pr.kind, "verdict", verdict, "message", message)
		p.options.OnChange(name)
	}
}

// nextDue is a period from when a probe was last due, however long the check
// took; a check that took longer than that is followed at once. Only the first
// verdict is followed after some part of the period, so that games which started
// together come apart, and stay so.
func (p *Prober) nextDue(pr *probe, now time.Time, parts bool) time.Time {
	if parts {
		return now.Add(p.spread(pr.period))
	}
	due := pr.due.Add(pr.period)
	if missed := now.Sub(due); missed > 0 {
		due = due.Add(missed.Truncate(pr.period))
	}
	return due
}

// firstDue is at once where nothing is known, and at some time within the period
// where a verdict is; never before the initial delay.
func (p *Prober) firstDue(pr *probe, now time.Time) time.Time {
	if due := pr.game.target.StartedAt.Add(pr.delay); due.After(now) {
		return due
	}
	if pr.verdict == v1alpha1.VerdictUnknown {
		return now
	}
	return now.Add(p.spread(pr.period))
}

// scheduleLocked brings the schedule in line with what is to be found out.
func (p *Prober) scheduleLocked(g *game, now time.Time) {
	for _, pr := range g.probes {
		scheduled := pr.index >= 0 || pr.flight != nil
		switch {
		case pr.asked() && !scheduled:
			pr.due = p.firstDue(pr, now)
			p.pushLocked(pr)
		case !pr.asked() && pr.index >= 0:
			heap.Remove(&pr.lane.queue, pr.index)
		}
	}
}

// pushLocked enters a probe into the schedule, and wakes the scheduler if it
// waits for a later one.
func (p *Prober) pushLocked(pr *probe) {
	if pr.lane == nil {
		pr.lane = p.laneOf(pr, false)
	}
	heap.Push(&pr.lane.queue, pr)
	if pr.due.Before(p.wakeAt) && pr.lane.busy < pr.lane.limit {
		p.wakeLocked()
	}
}

// laneOf is where a probe waits that was late the last time, or was not.
func (p *Prober) laneOf(pr *probe, late bool) *lane {
	switch {
	case pr.runsProgram():
		return &p.execs
	case late:
		return &p.slow
	default:
		return &p.brisk
	}
}

func (p *Prober) wakeLocked() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// dueQueue is a heap of probes, the next due first.
type dueQueue []*probe

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push and Pop are for container/heap.
func (q *dueQueue) Push(x any) {
	pr := x.(*probe)
	pr.index = len(*q)
	*q = append(*q, pr)
}

// Pop takes the last one.
func (q *dueQueue) Pop() any {
	old := *q
	pr := old[len(old)-1]
	pr.index = -1
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return pr
}
