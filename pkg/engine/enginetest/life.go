package enginetest

import (
	"context"
	"fmt"
	"os"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Start runs the test game.
func (s *Sim) Start(ctx context.Context, id string) error {
	return s.call(ctx, "Start", id, func() *engine.Error {
		c, missing := s.find(id)
		if missing != nil {
			return missing
		}
		if c.run != nil {
			return nil
		}
		if lost := stateLost(c.spec); lost != nil {
			return lost // Docker looks before it begins, and keeps no note of it
		}
		ports, refused := s.bind(c)
		switch {
		case !s.networks[c.spec.Network]:
			refused = failure(engine.NotFound, "network %s not found", c.spec.Network)
		case len(c.spec.Entrypoint) > 0 && c.spec.Entrypoint[0] != GamePath:
			refused = failure(engine.ProgramFailed, "exec: %q: no such file or directory", c.spec.Entrypoint[0])
		}
		if refused != nil {
			c.failStart(refused)
			return refused
		}
		for key, port := range ports {
			s.hostPorts[hostPort{port, key.Protocol}] = c
		}
		s.addresses++
		c.run = &run{ended: make(chan struct{})}
		c.State, c.Exit, c.StartedAt, c.HostPorts = engine.StateRunning, nil, s.now(), ports
		c.IP = fmt.Sprintf("10.%d.%d.%d", s.addresses>>16&255, s.addresses>>8&255, s.addresses&255)
		s.publish(c, "start")
		s.check(c)
		s.play(c)
		return nil
	})
}

// failStart leaves the state as it was, with an error. No event tells of it.
func (c *simContainer) failStart(why *engine.Error) {
	exit := engine.Exit{}
	if c.Exit != nil {
		exit = *c.Exit
	}
	exit.Error, exit.StartKind = why.Err.Error(), why.Kind
	switch {
	case why.Kind == engine.ProgramFailed:
		exit.Code = 127
	case exit.Code == 0:
		exit.Code = 128
	}
	c.Exit = &exit
}

// stateLost is what an engine has against a state directory that is not there:
// the simulated one looks at the files of its own host.
func stateLost(spec engine.ContainerSpec) *engine.Error {
	if spec.StateTarget == "" {
		return nil
	}
	if _, err := os.Stat(spec.StateSource); err != nil {
		return failure(engine.MountFailed, "bind source path does not exist: %s", spec.StateSource)
	}
	return nil
}

// bind finds the host ports of a start, or who has them.
func (s *Sim) bind(c *simContainer) (map[engine.PortKey]int32, *engine.Error) {
	var ports map[engine.PortKey]int32
	for _, p := range c.spec.Ports {
		if p.HostPort == nil {
			continue
		}
		port := *p.HostPort
		for port == 0 || *p.HostPort == 0 && s.hostPorts[hostPort{port, p.Protocol}] != nil {
			s.picked++
			port = s.picked
		}
		if s.hostPorts[hostPort{port, p.Protocol}] != nil {
			return nil, failure(engine.PortConflict, "Bind for 0.0.0.0:%d failed: port is already allocated", port)
		}
		if ports == nil {
			ports = map[engine.PortKey]int32{}
		}
		ports[p.PortKey] = port
	}
	return ports, nil
}

// Stop sends a signal and kills after the grace period, whether or not its
// caller still waits.
func (s *Sim) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	var ended <-chan struct{}
	err := s.call(ctx, "Stop", id, func() *engine.Error {
		c, _ := s.find(id)
		if c == nil || c.run == nil {
			return nil
		}
		ended = c.run.ended
		if signal == "" {
			signal = "SIGTERM"
		}
		s.publishSignal(c, "kill", signal)
		if ending, obeys := c.obey(signal); obeys {
			s.end(c, ending)
		} else {
			s.endAfter(c, grace, func() Ending { return Ending{Code: killed, Signal: "SIGKILL"} })
		}
		return nil
	})
	if err != nil || ended == nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return &engine.Error{Op: "Stop " + id, Kind: engine.Timeout, Err: ctx.Err()}
	}
}

// Remove deletes a container, running or not.
func (s *Sim) Remove(ctx context.Context, id string) error {
	return s.call(ctx, "Remove", id, func() *engine.Error {
		if c, _ := s.find(id); c != nil {
			s.remove(c)
		}
		return nil
	})
}

func (s *Sim) remove(c *simContainer) {
	s.end(c, Ending{Code: killed, Signal: "SIGKILL"})
	delete(s.containers, c.ID)
	delete(s.names, c.Name)
	s.publish(c, "destroy")
}

// Ending is how a run of a container ends.
type Ending struct {
	Code int32
	OOM  bool
	// Signal was sent over the engine's API; empty if nobody did that.
	Signal string
}

// end ends the run of a container, if it runs.
func (s *Sim) end(c *simContainer, how Ending) {
	if c.run == nil {
		return
	}
	for key, port := range c.HostPorts {
		delete(s.hostPorts, hostPort{port, key.Protocol})
	}
	close(c.run.ended)
	c.run, c.State, c.HostPorts, c.IP, c.Health = nil, engine.StateExited, nil, "", nil
	c.Exit = &engine.Exit{Code: how.Code, OOMKilled: how.OOM, FinishedAt: s.now()}
	if how.Signal != "" {
		s.publishSignal(c, "kill", how.Signal)
	}
	if how.OOM {
		s.publish(c, "oom")
	}
	s.publish(c, "die")
}

// endAfter ends this run of a container, and no later one.
func (s *Sim) endAfter(c *simContainer, delay time.Duration, how func() Ending) {
	run := c.run
	time.AfterFunc(delay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.run == run {
			s.end(c, how())
		}
	})
}
