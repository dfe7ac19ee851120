package enginetest

import (
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// AddHealthcheck gives the image of that tag a HEALTHCHECK: containers that are
// started from it turn healthy at once.
func (s *Sim) AddHealthcheck(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked[ref] = true
}

// TurnHealth lets the health check of a running container come to a verdict. The
// same one again is what the next check says: no event tells of it.
func (s *Sim) TurnHealth(idOrName string, to engine.Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, _ := s.find(idOrName); c != nil {
		s.turn(c, to)
	}
}

// listedHealth is what a list tells of it.
func listedHealth(h *engine.Health) *engine.Health {
	if h == nil || h.State != engine.HealthUnhealthy {
		return nil
	}
	return &engine.Health{State: h.State}
}

func (s *Sim) turn(c *simContainer, to engine.Health) {
	if c.Health == nil {
		return
	}
	news := c.Health.State != to.State
	c.Health = &to // what was handed out stays as it was
	if news {
		s.publish(c, "health_status: "+string(to.State))
	}
}

// check begins the checks of a run.
func (s *Sim) check(c *simContainer) {
	if !s.checked[c.Image] {
		return
	}
	c.Health = &engine.Health{State: engine.HealthStarting}
	run := c.run
	time.AfterFunc(0, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.run == run && c.Health.State == engine.HealthStarting {
			s.turn(c, engine.Health{State: engine.HealthHealthy})
		}
	})
}

// feel is what a program that is run beside the game does to its health.
func (s *Sim) feel(c *simContainer, command []string) {
	switch {
	case len(command) > 2 && command[1] == Sicken:
		s.turn(c, engine.Health{State: engine.HealthUnhealthy, Output: engine.Line([]byte(command[2]))})
	case len(command) > 1 && command[1] == Cure:
		s.turn(c, engine.Health{State: engine.HealthHealthy})
	}
}
