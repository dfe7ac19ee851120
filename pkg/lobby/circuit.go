package lobby

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// state is a circuit's, as its metric tells it.
type state int

const (
	closed state = iota
	halfOpen
	open
)

// circuit keeps attempts from a Lobby that failed several times in a row, but for
// one now and then.
type circuit struct {
	clock clock.PassiveClock
	log   logr.Logger
	limit int           // failures in a row that open it
	rest  time.Duration // that it stays open for, before one attempt

	mu       sync.Mutex
	failures int // in a row
	opened   bool
	until    time.Time
	trying   bool // the one attempt is under way
}

// enter says whether an attempt may be made, and whether it is the one that finds
// out for all.
func (c *circuit) enter() (trial, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.opened {
		return false, true
	}
	if c.trying || c.clock.Now().Before(c.until) {
		return false, false
	}
	c.trying = true
	return true, true
}

// leave takes what came of an attempt that was entered; nil is an answer. Any
// answer closes the circuit, be it that of an attempt from before it opened.
func (c *circuit) leave(trial bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if trial {
		c.trying = false
	}
	switch kind := KindOf(err); {
	case kind == Canceled: // that tells nothing
	case !kinds[kind].counts:
		if c.opened {
			c.log.Info("asking the Lobby again: it answers")
		}
		c.failures, c.opened = 0, false
	case trial && c.opened:
		c.until = c.clock.Now().Add(c.rest)
	case !c.opened:
		if c.failures++; c.failures >= c.limit {
			c.opened, c.until = true, c.clock.Now().Add(c.rest)
			c.log.Info("asking the Lobby no more for a while: it fails", "failures", c.failures, "rest", c.rest.String(), "reason", errors.Unwrap(err).Error())
		}
	}
}

// state is open while no attempt may be made, and half open when one may.
func (c *circuit) state() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.opened:
		return closed
	case c.clock.Now().Before(c.until):
		return open
	default:
		return halfOpen
	}
}

// Answers tells by an error that the Lobby is not asked for a while, as it failed
// several times in a row. It asks nothing.
func (c *Client) Answers(context.Context) error {
	if c.circuit.state() == open {
		return errors.New("it failed several times in a row, and is not asked for a while")
	}
	return nil
}
