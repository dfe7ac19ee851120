package probe

import (
	"container/heap"
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
	// OnChange is told of each game with a new verdict. It is called without
	// locks and must not block.
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

// game is a target and the probes on it, in the order of Results.
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

// Watch begins to probe a game. The same target again changes nothing; one that
// differs in anything starts afresh.
func (p *Prober) Watch(target Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.games[target.Game]
	if known != nil && reflect.DeepEqual(known.target, target) {
		return
	}
	p.dropLocked(target.Game)
	now := p.options.Clock.Now()
	g := newGame(target, now)
	p.games[target.Game] = g
	for _, pr := range g.probes {
		pr.due = firstDue(now, target.StartedAt, pr.spec)
		p.pushLocked(pr)
		if pr.tally.kind == v1alpha1.ProbeStartup {
			return // which lets the others go when it succeeds
		}
	}
}

func newGame(target Target, now time.Time) *game {
	g := &game{target: target}
	for _, each := range []struct {
		kind string
		spec *v1alpha1.Probe
	}{
		{v1alpha1.ProbeStartup, target.Probes.Startup},
		{v1alpha1.ProbeLiveness, target.Probes.Liveness},
		{v1alpha1.ProbeReadiness, target.Probes.Readiness},
	} {
		if each.spec != nil {
			g.probes = append(g.probes, &probe{game: g, spec: *each.spec, tally: newTally(each.kind, *each.spec), since: now, index: -1})
		}
	}
	return g
}

// firstDue is at once for a game that has just started, and at some time within
// the period for one that runs for longer; never before the initial delay.
func firstDue(now, started time.Time, spec v1alpha1.Probe) time.Time {
	if due := delayed(started, spec); due.After(now) {
		return due
	}
	period := seconds(spec.PeriodSeconds)
	if now.Sub(started) < period {
		return now
	}
	return now.Add(rand.N(period))
}

// delayed is when the initial delay is over.
func delayed(started time.Time, spec v1alpha1.Probe) time.Time {
	return started.Add(time.Duration(spec.InitialDelaySeconds) * time.Second)
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
		since := metav1.NewMicroTime(pr.since)
		results = append(results, v1alpha1.ProbeStatus{
			Probe: pr.tally.kind, Verdict: pr.tally.verdict, Message: pr.message, Since: &since,
		})
	}
	return results
}

// conclude brings the answer to a check into the verdict, and the probe back
// into the schedule. Only a verdict that changed is told.
func (p *Prober) conclude(pr *probe, answer error) {
	name := pr.game.target.Game
	p.mu.Lock()
	if p.games[name] != pr.game { // the answer is about an earlier instance
		p.mu.Unlock()
		return
	}
	changed := pr.tally.count(answer == nil)
	if changed {
		pr.since, pr.message = p.options.Clock.Now(), ""
		if answer != nil {
			pr.message = answer.Error()
		}
	}
	verdict, message := pr.tally.verdict, pr.message
	p.rescheduleLocked(pr)
	p.mu.Unlock()
	if changed {
		p.options.Log.Info("probe verdict", "game", name.String(), "probe", pr.tally.kind, "verdict", verdict, "message", message)
		p.options.OnChange(name)
	}
}
