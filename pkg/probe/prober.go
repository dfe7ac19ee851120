package probe

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Target is a running game to probe.
type Target struct {
	Game types.NamespacedName
	// Instance is one run of its container; another one starts afresh.
	Instance string
	// Address is the game's host or IP, without a port.
	Address   string
	StartedAt time.Time
	Probes    v1alpha1.Probes
}

// Options of a Prober. Zero values take the defaults.
type Options struct {
	Log   logr.Logger
	Clock clock.WithTicker
	// Workers is how many checks are under way at most; 32.
	Workers int
	// Check makes one check; HTTP and TCP for real by default.
	Check Check
	// OnChange is told of each game with a new verdict. It must not block.
	OnChange func(types.NamespacedName)
}

// Prober probes games. Its methods may be called from anywhere.
type Prober struct {
	options Options

	mu    sync.Mutex
	games map[types.NamespacedName]*game
	queue dueQueue
	woken chan struct{} // the queue has a new head
}

// game is a target and the probes on it.
type game struct {
	target Target
	probes []*probe
}

// probe is one of up to three.
type probe struct {
	game    *game
	spec    v1alpha1.Probe
	tally   tally
	message string
	since   time.Time
	due     time.Time
	index   int // in the queue; -1 when not in it
}

// New returns a prober that checks nothing until Run.
func New(options Options) *Prober {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Workers == 0 {
		options.Workers = 32
	}
	if options.Check == nil {
		options.Check = check
	}
	if options.OnChange == nil {
		options.OnChange = func(types.NamespacedName) {}
	}
	return &Prober{options: options, games: map[types.NamespacedName]*game{}, woken: make(chan struct{}, 1)}
}

// Watch begins to probe a game. The same target again changes nothing.
func (p *Prober) Watch(target Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.games[target.Game]
	if known != nil && reflect.DeepEqual(known.target, target) {
		return
	}
	p.dropLocked(target.Game)
	g := &game{target: target}
	now := p.options.Clock.Now()
	for _, kind := range []struct {
		name string
		spec *v1alpha1.Probe
	}{
		{v1alpha1.ProbeStartup, target.Probes.Startup},
		{v1alpha1.ProbeLiveness, target.Probes.Liveness},
		{v1alpha1.ProbeReadiness, target.Probes.Readiness},
	} {
		if kind.spec == nil {
			continue
		}
		pr := &probe{game: g, spec: *kind.spec, tally: newTally(kind.name, *kind.spec), since: now, index: -1}
		g.probes = append(g.probes, pr)
		pr.due = firstDue(now, target.StartedAt, *kind.spec)
		heap.Push(&p.queue, pr)
	}
	p.games[target.Game] = g
	p.wake()
}

// firstDue is after the initial delay. A game that has just started is asked at
// once; one that runs for long, as after a restart of ours, at some time within
// the period, so that not all are asked together.
func firstDue(now, started time.Time, spec v1alpha1.Probe) time.Time {
	due := started.Add(time.Duration(spec.InitialDelaySeconds) * time.Second)
	if due.After(now) {
		return due
	}
	period := seconds(spec.PeriodSeconds)
	if now.Sub(started) < period {
		return now
	}
	return now.Add(rand.N(period))
}

// Forget ends the probing of a game.
func (p *Prober) Forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(name)
}

func (p *Prober) dropLocked(name types.NamespacedName) {
	g := p.games[name]
	if g == nil {
		return
	}
	for _, pr := range g.probes {
		if pr.index >= 0 {
			heap.Remove(&p.queue, pr.index)
		}
	}
	delete(p.games, name)
}

// Results are the verdicts on an instance, in the order startup, liveness,
// readiness; none for an instance that is not probed.
func (p *Prober) Results(name types.NamespacedName, instance string) []v1alpha1.ProbeStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.games[name]
	if g == nil || g.target.Instance != instance {
		return nil
	}
	var results []v1alpha1.ProbeStatus
	for _, pr := range g.probes {
		since := metav1.NewTime(pr.since)
		results = append(results, v1alpha1.ProbeStatus{
			Probe: pr.tally.kind, Verdict: pr.tally.verdict, Message: pr.message, Since: &since,
		})
	}
	return results
}

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	due := make(chan *probe)
	var workers sync.WaitGroup
	for range p.options.Workers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for pr := range due {
				p.examine(ctx, pr)
			}
		}()
	}
	p.schedule(ctx, due)
	close(due)
	workers.Wait()
	return nil
}

// schedule hands each probe to a worker when it is due.
func (p *Prober) schedule(ctx context.Context, due chan<- *probe) {
	timer := p.options.Clock.NewTimer(time.Hour)
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
		return nil, time.Hour
	}
	head := p.queue[0]
	if wait := head.due.Sub(p.options.Clock.Now()); wait > 0 {
		return nil, wait
	}
	heap.Pop(&p.queue)
	return head, 0
}

func (p *Prober) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// examine makes one check and brings its answer into the verdict.
func (p *Prober) examine(ctx context.Context, pr *probe) {
	p.mu.Lock()
	held := pr.tally.kind != v1alpha1.ProbeStartup && !pr.game.started()
	target := pr.game.target
	p.mu.Unlock()
	if held {
		p.again(pr)
		return
	}
	checkCtx, cancel := context.WithTimeout(ctx, seconds(pr.spec.TimeoutSeconds))
	err := p.options.Check(checkCtx, target.Address, pr.spec)
	cancel()
	if ctx.Err() != nil {
		return
	}
	if p.conclude(pr, err) {
		p.options.OnChange(target.Game)
	}
}

// started says that the startup probe, if there is one, succeeded.
func (g *game) started() bool {
	for _, pr := range g.probes {
		if pr.tally.kind == v1alpha1.ProbeStartup {
			return pr.tally.verdict == v1alpha1.VerdictSucceeding
		}
	}
	return true
}

// conclude counts an answer and says whether the verdict changed.
func (p *Prober) conclude(pr *probe, err error) bool {
	p.mu.Lock()
	current := p.games[pr.game.target.Game] == pr.game
	changed := current && pr.tally.count(err == nil)
	if changed {
		pr.since = p.options.Clock.Now()
		pr.message = ""
		if err != nil {
			pr.message = err.Error()
		}
	}
	name, kind, verdict, message := pr.game.target.Game, pr.tally.kind, pr.tally.verdict, pr.message
	done := !current || pr.tally.final()
	if changed && kind == v1alpha1.ProbeStartup && verdict == v1alpha1.VerdictSucceeding {
		p.releaseLocked(pr.game)
	}
	p.mu.Unlock()
	if changed {
		p.options.Log.Info("probe verdict", "game", name.String(), "probe", kind, "verdict", verdict, "message", message)
	}
	if !done {
		p.again(pr)
	}
	return changed
}

// releaseLocked lets the probes go that a startup probe held back.
func (p *Prober) releaseLocked(g *game) {
	for _, pr := range g.probes {
		if pr.index >= 0 {
			pr.due = p.options.Clock.Now()
			heap.Fix(&p.queue, pr.index)
		}
	}
	p.wake()
}

// again puts a probe back in the queue, a period from when it was last due.
func (p *Prober) again(pr *probe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.games[pr.game.target.Game] != pr.game {
		return
	}
	pr.due = pr.due.Add(seconds(pr.spec.PeriodSeconds))
	if now := p.options.Clock.Now(); pr.due.Before(now) { // a check that took longer than its period
		pr.due = now
	}
	heap.Push(&p.queue, pr)
	p.wake()
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

func (q *dueQueue) Push(x any) {
	pr := x.(*probe)
	pr.index = len(*q)
	*q = append(*q, pr)
}

func (q *dueQueue) Pop() any {
	old := *q
	pr := old[len(old)-1]
	pr.index = -1
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return pr
}
