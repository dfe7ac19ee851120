package streams

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// Commander writes wishes into records.
type Commander interface {
	Start(ctx context.Context, wish command.Start) (command.Answer, error)
	Stop(ctx context.Context, wish command.Wish) (command.Answer, error)
}

// Records are the games' records; nil is a game without.
type Records interface {
	// Seen is the record as it was last heard of.
	Seen(game string) *v1alpha1.GameRuntime
	// Stored is the record as it is.
	Stored(ctx context.Context, game string) (*v1alpha1.GameRuntime, error)
}

// IntakeOptions say what an intake works with.
type IntakeOptions struct {
	Redis    *redis.Client
	Jobs     journal.Jobs
	Commands Commander
	Records  Records
	// Image asks the Lobby which image a game is to run. Optional. Its errors are
	// each a *command.Error.
	Image func(ctx context.Context, game string) (string, error)
	// Namespace is that of the games.
	Namespace string
	// Manager is this process's name among the managers, the same after a restart.
	Manager string
	// Remember is how long answered jobs are known by their ids; 0 is for ever.
	Remember time.Duration
	// JobTimeout is how long a job may take until it is answered all the same; 0 is
	// five minutes.
	JobTimeout time.Duration
	// Glance is how often is looked for what nobody tells of: that streams began anew,
	// that another reader is needed, what others left; 0 is a second.
	Glance time.Duration
	// Traces make a span of each job; nil makes none.
	Traces *tracing.Traces
	Log    logr.Logger
}

const (
	defaultJobTimeout = 5 * time.Minute
	defaultGlance     = time.Second
	// shortestPause and longestPause are the delays before Redis or the database is
	// tried again; each is twice the one before.
	shortestPause = 50 * time.Millisecond
	longestPause  = 5 * time.Second
)

// Intake takes jobs from the streams, writes them into records, and answers each
// once. As many may run on a database as there are managers: one of them reads, and
// all share the work on what was read. Whatever one leaves undone another finishes.
type Intake struct {
	IntakeOptions
	metrics intakeMetrics
	arrived chan struct{} // jobs may wait to be applied
	changed chan struct{} // records, or jobs that wait for theirs

	unsettled []outcome // of the jobs in hand; apply's alone

	mu      sync.Mutex
	waiting map[string]map[string]waitingJob // accepted jobs, by game and id
	dirty   map[string]bool                  // games to look at
}

// NewIntake returns an intake that does nothing until it runs.
func NewIntake(options IntakeOptions) *Intake {
	if options.JobTimeout == 0 {
		options.JobTimeout = defaultJobTimeout
	}
	if options.Glance == 0 {
		options.Glance = defaultGlance
	}
	return &Intake{
		IntakeOptions: options, metrics: newIntakeMetrics(),
		arrived: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		waiting: map[string]map[string]waitingJob{}, dirty: map[string]bool{},
	}
}

// Start works until ctx ends.
func (i *Intake) Start(ctx context.Context) error {
	var work errgroup.Group
	work.Go(func() error { i.persist(ctx, "reading jobs", i.read); return nil })
	work.Go(func() error { i.persist(ctx, "applying jobs", i.apply); return nil })
	work.Go(func() error { i.persist(ctx, "answering jobs", i.conclude); return nil })
	err := work.Wait()
	for _, ofGame := range i.waiting {
		for _, job := range ofGame {
			job.span.End() // another process answers it
		}
	}
	return err
}

// NeedLeaderElection says that every manager takes jobs, whoever leads.
func (i *Intake) NeedLeaderElection() bool { return false }

// Changed tells of a game whose record is another one, or gone. It never blocks.
func (i *Intake) Changed(game string) {
	i.mu.Lock()
	_, awaited := i.waiting[game]
	if awaited {
		i.dirty[game] = true
	}
	i.mu.Unlock()
	if awaited {
		wake(i.changed)
	}
}

// persist does something again and again, after a pause where that fails, until ctx
// ends. well must be called when it goes well.
func (i *Intake) persist(ctx context.Context, what string, try func(ctx context.Context, well func()) error) {
	pause, failing := shortestPause, false
	for ctx.Err() == nil {
		err := try(ctx, func() {
			if failing {
				i.Log.Info(what + " again")
			}
			pause, failing = shortestPause, false
		})
		if err == nil || ctx.Err() != nil {
			continue
		}
		if !failing {
			i.Log.Info(what+" is held up", "reason", err.Error())
		}
		failing = true
		rest(ctx, pause/2+rand.N(pause))
		pause = min(2*pause, longestPause)
	}
}

func wake(sleeper chan<- struct{}) {
	select {
	case sleeper <- struct{}{}:
	default: // it is awake
	}
}

func rest(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}
