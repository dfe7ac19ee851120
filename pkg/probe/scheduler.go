package probe

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// idle is how long the scheduler waits when there is nothing to probe; Watch
// wakes it.
const idle = time.Hour

// Run probes until ctx ends, and returns nil then. Checks under way end with it.
func (p *Prober) Run(ctx context.Context) error {
	due := make(chan *probe)
	var workers sync.WaitGroup
	for range p.options.Workers {
		workers.Go(func() {
			for pr := range due {
				p.examine(ctx, pr)
			}
		})
	}
	p.schedule(ctx, due)
	close(due)
	workers.Wait()
	return nil
}

// schedule hands each probe to a worker when it is due.
func (p *Prober) schedule(ctx context.Context, due chan<- *probe) {
	timer := p.options.Clock.NewTimer(idle)
	defer timer.Stop()
	for {
		next, wait := p.next()
		if next != nil {
			select {
			case due <- next:
				continue
			case <-ctx.Done():
				return
			}
		}
		timer.Reset(wait)
		select {
		case <-timer.C():
		case <-p.woken:
		case <-ctx.Done():
			return
		}
	}
}

// next takes the probe that is due, or says how long to wait for one.
func (p *Prober) next() (*probe, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return nil, idle
	}
	if wait := p.queue[0].due.Sub(p.options.Clock.Now()); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&p.queue).(*probe), 0
}

// examine makes one check.
func (p *Prober) examine(ctx context.Context, pr *probe) {
	checkCtx, cancel := context.WithTimeout(ctx, seconds(pr.spec.TimeoutSeconds))
	defer cancel()
	answer := p.options.Check(checkCtx, pr.game.target, pr.spec)
	if ctx.Err() == nil { // else it is us who broke it off
		p.conclude(pr, answer)
	}
}

// rescheduleLocked makes a probe due again, a period from when it last was. A
// probe with nothing more to find out leaves the schedule; a startup probe that
// succeeded lets the others into it.
func (p *Prober) rescheduleLocked(pr *probe) {
	now := p.options.Clock.Now()
	if !pr.tally.final() {
		// A check that took longer than its period is followed at once.
		pr.due = later(pr.due.Add(seconds(pr.spec.PeriodSeconds)), now)
		p.pushLocked(pr)
		return
	}
	if pr.tally.verdict != v1alpha1.VerdictSucceeding {
		return
	}
	for _, held := range pr.game.probes {
		if held != pr {
			held.due = later(delayed(pr.game.target.StartedAt, held.spec), now)
			p.pushLocked(held)
		}
	}
}

// pushLocked enters a probe into the schedule, and wakes the scheduler if it
// waits for a later one.
func (p *Prober) pushLocked(pr *probe) {
	heap.Push(&p.queue, pr)
	if pr.index != 0 {
		return
	}
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// seconds of a field that the API server defaults to at least one.
func seconds(n int32) time.Duration { return time.Duration(max(n, 1)) * time.Second }

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
