package enginetest

import (
	"context"
	"strings"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Logs returns what the test game said.
func (s *Sim) Logs(ctx context.Context, id string, lines int) (log string, err error) {
	err = s.call(ctx, "Logs", id, func() *engine.Error {
		c, missing := s.find(id)
		if missing != nil {
			return missing
		}
		var all strings.Builder
		for _, l := range c.log.last(lines) {
			all.WriteString(l.text)
		}
		log = engine.Text([]byte(all.String()))
		return nil
	})
	return log, err
}

// Exec runs the test game beside itself.
func (s *Sim) Exec(ctx context.Context, id string, command []string) (result engine.ExecResult, err error) {
	var ended <-chan struct{}
	var after time.Duration
	err = s.call(ctx, "Exec", id, func() *engine.Error {
		c, missing := s.find(id)
		if missing != nil {
			return missing
		}
		if c.run == nil {
			return failure(engine.Failed, "container %s is not running", id)
		}
		ended = c.run.ended
		result, after = execute(command)
		s.feel(c, command)
		return nil
	})
	if err != nil || after == 0 {
		return result, err
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
		return result, nil
	case <-ended:
		return engine.ExecResult{Code: killed}, nil
	case <-ctx.Done():
		return engine.ExecResult{}, &engine.Error{Op: "Exec " + id, Kind: engine.Timeout, Err: ctx.Err()}
	}
}
