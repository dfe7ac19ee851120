package enginetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Fault is what goes wrong with calls of one verb.
type Fault struct {
	// Verb is the name of the engine's method.
	Verb string
	// On is what the call is about: a container by id or name, an image or a
	// network. Empty is anything.
	On string
	// Call is the one call that meets the fault, 1 being the next; 0 is every.
	Call int
	// Kind is the failure that is answered; none makes a call only slow.
	Kind engine.Kind
	// Delay passes first, unless the caller's deadline is earlier.
	Delay time.Duration
	// Hang waits for the caller to give up.
	Hang bool
	// AfterEffect lets the call do its work first: the answer is what is lost.
	AfterEffect bool
}

type injected struct {
	Fault
	met int
}

// Inject makes calls go wrong until mend is called.
func (s *Sim) Inject(fault Fault) (mend func()) {
	_, acts := reflect.TypeFor[engine.Engine]().MethodByName(fault.Verb)
	if _, reaches := reflect.TypeFor[engine.Console]().MethodByName(fault.Verb); !acts && !reaches {
		panic(fmt.Sprintf("enginetest: an engine has no verb %q", fault.Verb))
	}
	f := &injected{Fault: fault}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(other *injected) bool { return other == f })
	}
}

// SetDown takes the engine away, with its streams, or brings it back. Its
// containers go on, as they do under Docker's live restore.
func (s *Sim) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down = down; down {
		s.cutStreams()
	}
}

// Reboot ends what runs, cuts the streams and forgets the past, without an
// event: a host that lost its power.
func (s *Sim) Reboot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutStreams()
	for _, c := range s.containers {
		s.end(c, Ending{Code: 255})
	}
	s.past = nil
}

// Replace puts another engine in the place of this one, which has none of the
// containers, until restore is called: a socket that was mounted from elsewhere.
func (s *Sim) Replace(id string) (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutStreams()
	oldID, containers, names, ports := s.id, s.containers, s.names, s.hostPorts
	s.id, s.past = id, nil
	s.containers, s.names, s.hostPorts = map[string]*simContainer{}, map[string]*simContainer{}, map[hostPort]*simContainer{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cutStreams()
		s.id, s.past = oldID, nil
		s.containers, s.names, s.hostPorts = containers, names, ports
	}
}

// Advance moves the engine's clock ahead.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// CutStreams ends the event streams; the engine stays.
func (s *Sim) CutStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutStreams()
}

// LoseEvents makes every event get lost on its way, or none.
func (s *Sim) LoseEvents(lose bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseEvents = lose
}

// Kill ends a running container behind the caller's back: a crash, the kernel,
// or a person.
func (s *Sim) Kill(idOrName string, how Ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, _ := s.find(idOrName); c != nil {
		s.end(c, how)
	}
}

// RemoveByHand deletes a container as a person does.
func (s *Sim) RemoveByHand(idOrName string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, _ := s.find(idOrName); c != nil {
		s.remove(c)
	}
}

// Calls counts the calls of a verb so far, failed ones too.
func (s *Sim) Calls(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[verb]
}

// call is what every verb goes through: count it, meet the faults, and do it
// under the lock.
func (s *Sim) call(ctx context.Context, verb, on string, do func() *engine.Error) error {
	fault, failed := s.meet(ctx, verb, on)
	if failed == nil && !fault.AfterEffect {
		failed = fault.strike(ctx)
	}
	if failed == nil {
		s.mu.Lock()
		failed = do()
		s.mu.Unlock()
	}
	if failed == nil && fault.AfterEffect {
		failed = fault.strike(ctx)
	}
	if failed == nil {
		return nil
	}
	failed.Op = verb
	if on != "" {
		failed.Op += " " + on
	}
	return failed
}

// meet counts a call and finds what goes wrong with it.
func (s *Sim) meet(ctx context.Context, verb, on string) (Fault, *engine.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[verb]++
	switch {
	case ctx.Err() != nil:
		return Fault{}, gaveUp(ctx)
	case s.down:
		return Fault{}, failure(engine.Unreachable, "connection refused")
	}
	name := ""
	if c := s.containers[on]; c != nil {
		name = c.Name
	}
	for _, f := range s.faults {
		if f.Verb != verb || f.On != "" && f.On != on && f.On != name {
			continue
		}
		if f.met++; f.Call == 0 || f.Call == f.met {
			return f.Fault, nil
		}
	}
	return Fault{}, nil
}

// strike is what a call feels of a fault; the zero fault is none.
func (f Fault) strike(ctx context.Context) *engine.Error {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return gaveUp(ctx)
		}
	}
	if f.Hang {
		<-ctx.Done()
		return gaveUp(ctx)
	}
	if f.Kind != "" {
		return failure(f.Kind, "injected")
	}
	return nil
}

func gaveUp(ctx context.Context) *engine.Error {
	return &engine.Error{Kind: engine.Timeout, Err: ctx.Err()}
}

// failure is an engine's; call names what was being done.
func failure(kind engine.Kind, format string, args ...any) *engine.Error {
	return &engine.Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}
