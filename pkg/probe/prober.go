package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Target is a running game to probe.
type Target struct {
	Game types.NamespacedName
	// Instance is one run of its container; another one starts afresh.
	Instance string
	// Container is the id of that container.
	Container string
	// Address is the game's host or IP, without a port. It may change.
	Address   string
	StartedAt time.Time
	Probes    v1alpha1.Probes
}

// Options of a Prober. Zero values take the defaults.
type Options struct {
	Log   logr.Logger
	Clock clock.WithTicker
	// Workers is how many checks are in their first moment at most; 64. Checks
	// that take longer have slots of their own, sixteen times as many.
	Workers int
	// Exec runs the programs of exec probes, of which there are eight at most within
	// their timeouts. Without it their checks are not made.
	Exec Exec
	// EngineAnswers says that the engine does: while it does not, what comes of a
	// program says nothing of the game. By default it always does.
	EngineAnswers func() bool
	// Check makes one check, and Measure asks for the number that a progress
	// probe watches; both for real by default.
	Check   Check
	Measure Measure
	// OnChange is told of each game with a new verdict. It is called without
	// locks and must not block.
	OnChange func(types.NamespacedName)
}

// Prober probes games. Its methods may be called from anywhere.
type Prober struct {
	options  Options
	metrics  metrics
	programs *programs
	// spread picks the part of a period by which games come apart.
	spread func(period time.Duration) time.Duration
	// moment is how long a check counts as one that is answered at once.
	moment time.Duration

	mu                 sync.Mutex
	games              map[types.NamespacedName]*game
	brisk, slow, execs lane
	flights            map[*flight]struct{}
	running            sync.WaitGroup
	wakeAt             time.Time     // when the scheduler looks again by itself
	woken              chan struct{} // it is to look before that
}

// New returns a prober that checks nothing until Run.
func New(options Options) *Prober {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	if options.Workers == 0 {
		options.Workers = 64
	}
	if options.Exec == nil {
		options.Exec = func(context.Context, string, []string) (int32, string, error) {
			return 0, "", errors.New("no programs are run here")
		}
	}
	if options.EngineAnswers == nil {
		options.EngineAnswers = func() bool { return true }
	}
	programs := newPrograms(options.Exec, options.EngineAnswers)
	if options.Check == nil {
		options.Check = checks{programs}.check
	}
	if options.Measure == nil {
		options.Measure = measure
	}
	if options.OnChange == nil {
		options.OnChange = func(types.NamespacedName) {}
	}
	return &Prober{
		options: options, metrics: newMetrics(), programs: programs, spread: rand.N[time.Duration], moment: moment,
		games: map[types.NamespacedName]*game{}, flights: map[*flight]struct{}{},
		brisk: lane{limit: options.Workers}, slow: lane{limit: slowShare * options.Workers},
		execs: lane{limit: execSlots}, woken: make(chan struct{}, 1),
	}
}

// Watch begins to probe a game, or goes on with what changed. Another instance
// starts afresh, with the verdicts that were recorded on it; in one that is
// watched already a probe that was edited does, and the others keep theirs.
func (p *Prober) Watch(target Target, recorded []v1alpha1.ProbeStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.options.Clock.Now()
	g := p.games[target.Game]
	if g == nil || g.target.Instance != target.Instance {
		p.dropLocked(target.Game)
		g = &game{}
		p.games[target.Game] = g
	} else {
		recorded = nil // what we know of it is newer
	}
	g.target = target
	before := g.probes
	g.probes = nil
	for _, q := range questions(target.Probes) {
		pr := sameQuestion(before, q)
		if pr == nil {
			pr = newProbe(g, q, now)
			pr.restore(recorded)
		}
		g.probes = append(g.probes, pr)
	}
	for _, pr := range before {
		if !slices.Contains(g.probes, pr) {
			pr.retireLocked()
		}
	}
	p.scheduleLocked(g, now)
}

// Forget ends the probing of a game. A check under way is broken off, but for a
// program, which an engine cannot end: that runs on.
func (p *Prober) Forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(name)
}

// Quiesce ends the probing of a game, as Forget does, and returns once no check
// of it is under way, or ctx ended. A program that a probe runs is waited for:
// until its timeout at most.
func (p *Prober) Quiesce(ctx context.Context, name types.NamespacedName) {
	var under []*flight
	p.mu.Lock()
	p.dropLocked(name)
	for f := range p.flights {
		if f.probe.game.target.Game == name {
			under = append(under, f)
		}
	}
	p.mu.Unlock()
	for _, f := range under {
		select {
		case <-f.over:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Prober) dropLocked(name types.NamespacedName) {
	g := p.games[name]
	if g == nil {
		return
	}
	for _, pr := range g.probes {
		pr.retireLocked()
	}
	delete(p.games, name)
}

// Results are the verdicts on an instance, in the order startup, liveness,
// readiness, progress; none for an instance that is not probed.
func (p *Prober) Results(name types.NamespacedName, instance string) []v1alpha1.ProbeStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.games[name]
	if g == nil || g.target.Instance != instance {
		return nil
	}
	var results []v1alpha1.ProbeStatus
	for _, pr := range g.probes {
		results = append(results, pr.status())
	}
	return results
}
