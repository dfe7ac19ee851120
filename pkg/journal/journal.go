package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/health"
)

// Intent is what we were about to do to a game's container; with its outcome it
// is an operation.
type Intent struct {
	// ID is a UUID.
	ID         string
	Game       types.NamespacedName
	UID        string
	Generation int64
	// Action is one of v1alpha1's.
	Action string
	// Container is its id; empty where there is none yet, or it is none's business.
	Container string
	// Run is when the run began that a stop or a removal is to end, by the
	// engine's clock; zero if it is not known.
	Run time.Time
	// Cause and Why are what that end is recorded as.
	Cause string
	Why   string
	// By is who asked for the record as it is; empty if nobody knows.
	By string
	// At is when it was meant, Deadline when the call is given up.
	At       time.Time
	Deadline time.Time
	Result
}

// Result is what came of an intent.
type Result struct {
	// Outcome is one of v1alpha1's; empty while it is open.
	Outcome    string
	Code       string
	Message    string
	FinishedAt time.Time
}

// kept is how many decided ones of an action are remembered for each game: what
// may explain why a container ended or is gone, and who began its run.
var kept = map[string]int{v1alpha1.ActionStop: keptEach, v1alpha1.ActionRemove: keptEach, v1alpha1.ActionStart: keptEach}

// decided says that nothing more will be learned about it.
func (i Intent) decided() bool {
	return i.Outcome == v1alpha1.OperationSucceeded || i.Outcome == v1alpha1.OperationFailed
}

// Log is where intents and outcomes are kept: PostgreSQL, or memory in tests.
type Log interface {
	// Lead takes the lead, and returns its term: whoever led before writes no more
	// intents, and Load returns all that were.
	Lead(ctx context.Context) (term int64, err error)
	// Write keeps intents, and results by their ids, all or nothing; but if somebody
	// took the lead since the term, the results alone, and answers ErrLedSince. It
	// may be repeated.
	Write(ctx context.Context, term int64, begun []Intent, finished map[string]Result) error
	// Load returns what is open, and the last of each game that are to be kept,
	// so many of each action, oldest first.
	Load(ctx context.Context, kept map[string]int) ([]Intent, error)
	// Tell keeps what is told of games, each of them there once, all or nothing. It
	// may be repeated: an event that is there stays as it is, and is announced no
	// second time.
	Tell(ctx context.Context, tellings []Telling) error
	// Told returns the last snapshot of each game.
	Told(ctx context.Context) ([]health.Snapshot, error)
}

// keptEach is how many of a game's decided starts are remembered, of its stops and
// of its removals: a status tells of a run and of its end long before so many
// others follow. A crash may come between a stop and the status that tells of it,
// and so between the removal after it and that status; and before a run is seen,
// it may be asked for again, to no effect.
const keptEach = 4

// loadRetry is the delay before a database that is away is asked again.
const loadRetry = 500 * time.Millisecond

var errClosed = errors.New("the journal is closed")

// ErrLedSince refuses intents: another manager took the lead meanwhile, of whose
// deeds this one knows nothing.
var ErrLedSince = errors.New("another manager took the lead")

// Journal is the log with what matters of it in memory. One process writes: the
// one that took the lead last, by loading it.
type Journal struct {
	log      logr.Logger
	metrics  metrics
	rows     Log
	loaded   chan struct{}
	news     chan struct{} // intents or outcomes wait to be written
	tellings chan struct{} // what is told of health does
	hurry    chan struct{} // somebody waits for what is told
	closing  chan struct{}
	closed   chan struct{}

	mu    sync.Mutex
	term  int64                             // since it is loaded
	games map[types.NamespacedName][]Intent // oldest first
	begun []*beginning
	// finished holds the results to write, by id.
	finished map[string]Result
	// told is what each game's last snapshot said, untold what is to be written.
	told   map[types.NamespacedName]told
	untold map[types.NamespacedName]Telling
	// telling is being written; heard is closed when that is over.
	telling map[types.NamespacedName]Telling
	heard   chan struct{}
}

// New returns a journal that knows nothing until it is loaded. Close must follow.
func New(rows Log, log logr.Logger) *Journal {
	j := &Journal{
		log: log, rows: rows,
		loaded: make(chan struct{}), news: make(chan struct{}, 1), tellings: make(chan struct{}, 1),
		hurry: make(chan struct{}, 1), heard: make(chan struct{}),
		closing: make(chan struct{}), closed: make(chan struct{}),
		games: map[types.NamespacedName][]Intent{}, finished: map[string]Result{},
		told: map[types.NamespacedName]told{}, untold: map[types.NamespacedName]Telling{},
	}
	j.metrics = newMetrics(j)
	// Whatever is wrong with what is told, it holds no intent up: each has its writer.
	var writers sync.WaitGroup
	writers.Go(func() { j.inGroups("journal", j.news, j.writeOperations) })
	writers.Go(func() { j.inGroups("health history", j.tellings, j.writeTellings) })
	go func() {
		writers.Wait()
		close(j.closed)
	}()
	return j
}

// Close writes what waits, if the database is there, and ends.
func (j *Journal) Close() {
	close(j.closing)
	<-j.closed
}

// Load takes the lead, once, and reads what whoever led before left. It tries until
// it succeeds or ctx ends, and returns that.
func (j *Journal) Load(ctx context.Context) []Intent {
	for failing := false; ; failing = true {
		intents, err := j.load(ctx)
		if err == nil {
			close(j.loaded)
			return intents
		}
		if !failing {
			j.log.Info("the journal cannot be read", "reason", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(loadRetry):
		}
	}
}

func (j *Journal) load(ctx context.Context) ([]Intent, error) {
	term, err := j.rows.Lead(ctx)
	if err != nil {
		return nil, err
	}
	intents, err := j.rows.Load(ctx, kept)
	if err != nil {
		return nil, err
	}
	snapshots, err := j.rows.Told(ctx)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.term = term
	for _, intent := range intents {
		j.games[intent.Game] = append(j.games[intent.Game], intent)
	}
	for _, snapshot := range snapshots {
		j.told[snapshot.Game()] = remember(snapshot)
	}
	return intents, nil
}

// Loaded waits until what was left is known.
func (j *Journal) Loaded(ctx context.Context) error {
	select {
	case <-j.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the journal: %w", ctx.Err())
	}
}

// Intents returns what is remembered of a game, oldest first. It is the
// caller's to keep.
func (j *Journal) Intents(game types.NamespacedName) []Intent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.games[game])
}

// Begin returns when the intent is durable, and may be acted on. If it fails,
// the intent may be in the log all the same, and open: so is one whose manager
// was killed before it could act.
func (j *Journal) Begin(ctx context.Context, intent Intent) error {
	if err := j.commit(ctx, intent); err != nil {
		return fmt.Errorf("writing the intent to %s: %w", intent.Action, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.games[intent.Game] = append(j.games[intent.Game], intent)
	return nil
}

// Finish notes what came of an intent. It is written soon, and after its intent.
// An Unknown outcome may be followed by a better one.
func (j *Journal) Finish(game types.NamespacedName, id string, result Result) {
	j.mu.Lock()
	j.finished[id] = result
	known := j.games[game]
	if at := slices.IndexFunc(known, func(i Intent) bool { return i.ID == id }); at >= 0 { // it may be forgotten
		known[at].Result = result
		j.pruneLocked(game)
	}
	j.mu.Unlock()
	wake(j.news)
}

// pruneLocked forgets what is decided, but for the last ones that are kept.
func (j *Journal) pruneLocked(game types.NamespacedName) {
	remembered, seen := []Intent(nil), map[string]int{}
	for _, intent := range slices.Backward(j.games[game]) {
		seen[intent.Action]++
		if !intent.decided() || seen[intent.Action] <= kept[intent.Action] {
			remembered = append(remembered, intent)
		}
	}
	slices.Reverse(remembered)
	if j.games[game] = remembered; len(remembered) == 0 {
		delete(j.games, game)
	}
}

// Forget drops a game from memory, not from the log.
func (j *Journal) Forget(game types.NamespacedName) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.games, game)
	delete(j.told, game)
}
