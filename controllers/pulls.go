package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/pkg/engine"
)

const (
	// Pulls in flight at most, in all and from one registry: one that hangs
	// leaves room for the others.
	pullsInFlight    = 8
	pullsPerRegistry = 4
	// pullPatience is how long a pull may show no sign of life.
	pullPatience = 2 * time.Minute
	// pullPause keeps an image from being pulled anew so soon after a failure,
	// whoever asks: games that failed together ask again each in its own time.
	pullPause = 5 * time.Second
	// pullTick is how often a pull in flight is looked at, and its progress told
	// at most.
	pullTick = 15 * time.Second
	// pullToldTo is how many of the games that wait for a pull are told of its
	// progress. It is told in Events alone: a thousand games may wait for one
	// image, and each of their statuses is a write and a pass of the loop.
	pullToldTo = 10
)

var (
	errNobodyWaits = errors.New("nobody waits for it any more")
	errNoProgress  = errors.New("no sign of life")
)

// pullFunc fetches an image, as engine.Engine.PullImage does.
type pullFunc func(ctx context.Context, ref string, progress func(engine.PullProgress)) error

// pulls makes one pull of an image at a time, for all the games that wait for
// it. They share its outcome; a game that no longer waits leaves the pull to the
// others, and the last one ends it.
type pulls struct {
	clock clock.WithTicker
	// pull fetches an image, wake has a game looked at, and tell tells games of
	// the progress of what they wait for. The latter two must not block.
	pull pullFunc
	wake func(engine.GameID)
	tell func([]engine.GameID, engine.PullProgress)

	slots   chan struct{}
	running sync.WaitGroup

	mu sync.Mutex
	// registries holds the slots of each, byRef the pull that a game may join,
	// waits what each game waits for, failed when a pull of an image last did.
	registries map[string]chan struct{}
	byRef      map[string]*onePull
	waits      map[engine.GameID]*waiter
	failed     map[string]time.Time
}

// onePull is one pull of an image.
type onePull struct {
	ref    string
	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error // once done

	// The rest is guarded by the mutex of all pulls.
	waiting  int
	queued   bool // it waits for a slot, and its games were told so
	begun    bool
	progress engine.PullProgress
	told     engine.PullProgress
	lifeSign time.Time
}

// waiter is one game's wait for a pull.
type waiter struct{ *onePull }

func newPulls(clock clock.WithTicker, pull pullFunc, wake func(engine.GameID), tell func([]engine.GameID, engine.PullProgress)) *pulls {
	return &pulls{
		clock: clock, pull: pull, wake: wake, tell: tell, slots: make(chan struct{}, pullsInFlight),
		registries: map[string]chan struct{}{}, byRef: map[string]*onePull{},
		waits: map[engine.GameID]*waiter{}, failed: map[string]time.Time{},
	}
}

// wait returns when a pull of the image ended, or with the context, whichever
// is first. Where the image must be fresh only a pull that begins from now on
// will do: a tag may have moved since another one began.
func (s *pulls) wait(ctx context.Context, game engine.GameID, ref string, fresh bool) error {
	w := s.join(ctx, game, ref, fresh)
	defer s.leave(game, w)
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return s.gaveUp(w.onePull, "it takes too long")
	}
}

func (s *pulls) gaveUp(p *onePull, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &engine.Error{Op: "pull image " + p.ref, Kind: engine.PullFailed, Err: fmt.Errorf("%s: pulled %s", why, p.progress)}
}

func (s *pulls) join(ctx context.Context, game engine.GameID, ref string, fresh bool) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byRef[ref]
	if p == nil || fresh && p.begun {
		p = s.startLocked(ctx, ref, p)
	}
	w := &waiter{p}
	p.waiting++
	s.waits[game] = w
	return w
}

func (s *pulls) leave(game engine.GameID, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits[game] == w {
		delete(s.waits, game)
	}
	if w.waiting--; w.waiting > 0 {
		return
	}
	w.cancel(errNobodyWaits)
	s.retireLocked(w.onePull)
}

// retireLocked keeps a pull from being joined.
func (s *pulls) retireLocked(p *onePull) {
	if s.byRef[p.ref] == p {
		delete(s.byRef, p.ref)
	}
}

// startLocked starts a pull, to begin when the earlier one of the image, if
// any, has ended. It belongs to the trace of who wants it first.
func (s *pulls) startLocked(ctx context.Context, ref string, earlier *onePull) *onePull {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // ends with its last waiter
	p := &onePull{ref: ref, cancel: cancel, done: make(chan struct{})}
	s.byRef[ref] = p
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer cancel(nil)
		s.end(p, s.run(ctx, p, earlier))
	}()
	return p
}

func (s *pulls) end(p *onePull, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.err = err
	s.retireLocked(p)
	now := s.clock.Now()
	for ref, at := range s.failed {
		if now.Sub(at) >= pullPause || ref == p.ref {
			delete(s.failed, ref)
		}
	}
	if err != nil && p.waiting > 0 {
		s.failed[p.ref] = now
	}
	close(p.done)
}

// run makes a pull in its turn.
func (s *pulls) run(ctx context.Context, p *onePull, earlier *onePull) error {
	if earlier != nil {
		s.queue(p)
		select {
		case <-earlier.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if pause := s.pause(p.ref); pause > 0 {
		timer := s.clock.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, slots := range []chan struct{}{s.registry(p.ref), s.slots} {
		if err := s.enter(ctx, p, slots); err != nil {
			return err
		}
		defer func() { <-slots }()
	}
	s.begin(p)
	return s.watch(ctx, p)
}

// pause is how long an image must not be pulled yet.
func (s *pulls) pause(ref string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, failed := s.failed[ref]
	if !failed {
		return 0
	}
	return pullPause - s.clock.Since(at)
}

// registry returns the slots of an image's registry.
func (s *pulls) registry(ref string) chan struct{} {
	host := ""
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		host = reference.Domain(named)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slots := s.registries[host]
	if slots == nil {
		slots = make(chan struct{}, pullsPerRegistry)
		s.registries[host] = slots
	}
	return slots
}

// enter takes a slot.
func (s *pulls) enter(ctx context.Context, p *onePull, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	s.queue(p)
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// queue and begin let the games say that they wait for a turn, and no longer:
// most pulls need not wait, and cost no word about it.
func (s *pulls) queue(p *onePull) { s.turn(p, true, false) }
func (s *pulls) begin(p *onePull) { s.turn(p, false, true) }

func (s *pulls) turn(p *onePull, queued, begun bool) {
	s.mu.Lock()
	news := p.queued != queued
	p.queued, p.begun, p.lifeSign = queued, begun, s.clock.Now()
	games := s.gamesLocked(p)
	s.mu.Unlock()
	if !news {
		return
	}
	for _, game := range games {
		s.wake(game)
	}
}

// queued says that what a game waits for has to wait for a turn.
func (s *pulls) queued(game engine.GameID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waits[game]
	return w != nil && w.queued
}

func (s *pulls) gamesLocked(p *onePull) []engine.GameID {
	var games []engine.GameID
	for game, w := range s.waits {
		if w.onePull == p {
			games = append(games, game)
		}
	}
	return games
}

// watch makes the call, tells of its progress and gives it up when it shows no
// sign of life.
func (s *pulls) watch(ctx context.Context, p *onePull) error {
	ended := make(chan error, 1)
	go func() {
		ended <- s.pull(ctx, p.ref, func(progress engine.PullProgress) {
			s.mu.Lock()
			defer s.mu.Unlock()
			p.progress, p.lifeSign = progress, s.clock.Now()
		})
	}()
	ticker := s.clock.NewTicker(pullTick)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil && errors.Is(context.Cause(ctx), errNoProgress) {
				return s.gaveUp(p, fmt.Sprintf("%s for %s", errNoProgress, pullPatience))
			}
			return err
		case <-ticker.C():
			s.look(p)
		}
	}
}

// look tells some games of each tenth that a pull got further, and ends it if
// it does not live.
func (s *pulls) look(p *onePull) {
	s.mu.Lock()
	if s.clock.Since(p.lifeSign) >= pullPatience {
		p.cancel(errNoProgress)
	}
	further := tenths(p.progress) != tenths(p.told)
	var games []engine.GameID
	if p.told = p.progress; further {
		games = s.gamesLocked(p)
	}
	progress := p.progress
	s.mu.Unlock()
	if len(games) == 0 {
		return
	}
	slices.SortFunc(games, func(a, b engine.GameID) int { return strings.Compare(a.String(), b.String()) }) // the same ones each time
	s.tell(games[:min(len(games), pullToldTo)], progress)
}

func tenths(p engine.PullProgress) int64 {
	if p.Total == 0 {
		return 0
	}
	return 10 * p.Done / p.Total
}
