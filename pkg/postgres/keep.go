package postgres

import (
	"context"
	"fmt"
	"time"
)

// How a server that ended by itself is started again: at once, and then with
// delays that double; one that ran for a while begins anew. One that does not
// answer at this many starts in a row will not at the next.
const (
	firstRestartDelay = 500 * time.Millisecond
	maxRestartDelay   = 30 * time.Second
	steadyAfter       = time.Minute
	maxRestarts       = 5
)

// Keep starts the server again whenever it ends by itself, until ctx ends, and
// leaves one that runs then to Stop. It fails when the server cannot be started
// any more. Data that is gone it does not make anew: an empty database would be
// the end of every record.
func (e *Embedded) Keep(ctx context.Context) error {
	var delay time.Duration
	for ctx.Err() == nil {
		since, c := time.Now(), e.running()
		select {
		case <-ctx.Done():
			continue
		case <-c.exited:
		}
		if time.Since(since) >= steadyAfter {
			delay = 0
		}
		e.log.Info("PostgreSQL ended by itself, starting it again", "reason", c.end())
		if err := e.restart(ctx, &delay); err != nil {
			return err
		}
	}
	return nil
}

// restart tries until the server answers, it is hopeless, or ctx ends.
func (e *Embedded) restart(ctx context.Context, delay *time.Duration) error {
	for try := 1; ctx.Err() == nil; try++ {
		select {
		case <-ctx.Done():
			continue
		case <-time.After(*delay):
		}
		*delay = min(max(2**delay, firstRestartDelay), maxRestartDelay)
		err := e.start(ctx)
		if err == nil {
			e.log.Info("PostgreSQL answers again")
			return nil
		}
		if try >= maxRestarts && ctx.Err() == nil {
			return fmt.Errorf("the embedded PostgreSQL cannot be started any more: %s", oneLine(err))
		}
	}
	return nil
}
