package enginetest

import (
	"context"
	"errors"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

const (
	// remembered is how many events an engine keeps for a stream that begins
	// in the past; Docker keeps as many.
	remembered = 256
	// buffered is what a stream holds for a slow reader before it loses events.
	buffered = 1024
)

type stream struct {
	installation string
	events       chan engine.Event
	cut          chan struct{}
}

type pastEvent struct {
	installation string
	event        engine.Event
}

var errCut = errors.New("the engine closed the event stream")

// Events follows the containers of an installation.
func (s *Sim) Events(ctx context.Context, installation string, since time.Time, subscribed func(), handle func(engine.Event)) error {
	st := &stream{installation: installation, events: make(chan engine.Event, buffered), cut: make(chan struct{})}
	var replay []engine.Event
	err := s.call(ctx, "Events", "", func() *engine.Error {
		s.streams[st] = true
		for _, p := range s.past {
			if p.installation == installation && !since.IsZero() && !p.event.At.Before(since) {
				replay = append(replay, p.event)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer s.leave(st)
	subscribed()
	for _, e := range replay {
		handle(e)
	}
	for {
		select {
		case e := <-st.events:
			handle(e)
		case <-st.cut:
			return st.end(ctx)
		case <-ctx.Done():
			return st.end(ctx)
		}
	}
}

// end says why a stream ended: what was cut was cut before its caller gave up.
func (st *stream) end(ctx context.Context) error {
	select {
	case <-st.cut:
		return &engine.Error{Op: "Events", Kind: engine.Unreachable, Err: errCut}
	default:
		return &engine.Error{Op: "Events", Kind: engine.Timeout, Err: ctx.Err()}
	}
}

func (s *Sim) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
}

// publish tells the streams. One that is full loses the event, and is not told
// so: so does Docker's.
func (s *Sim) publish(c *simContainer, action string) { s.publishSignal(c, action, "") }

func (s *Sim) publishSignal(c *simContainer, action, signal string) {
	e := engine.Event{ContainerID: c.ID, Game: c.Game, Action: action, Signal: signal, At: s.now()}
	s.past = append(s.past, pastEvent{c.Installation, e})
	s.past = s.past[max(0, len(s.past)-remembered):]
	if s.loseEvents {
		return
	}
	for st := range s.streams {
		if st.installation != c.Installation {
			continue
		}
		select {
		case st.events <- e:
		default:
		}
	}
}

func (s *Sim) cutStreams() {
	for st := range s.streams {
		close(st.cut)
		delete(s.streams, st)
	}
}
