package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"
)

const (
	// canaryInterval lies between two writes of the canary.
	canaryInterval = 10 * time.Second
	// canaryPatience is how long a watch may take to tell of one.
	canaryPatience = 5 * time.Second
	// canaryTTL removes the row of a process that is gone.
	canaryTTL = time.Minute
)

// canary writes a record of its own now and then, and follows it as any watcher
// does. So the process knows that the database takes writes, and that its
// watches do not stand still while it does, before its clients would wonder.
type canary struct {
	backend *Backend
	name    string
	beat    time.Duration

	mu sync.Mutex
	// refusal is what came of the last write.
	refusal error
	// sung and heardOf are the newest revisions that were written and seen.
	sung, heardOf int64
	// waiting is since when heardOf is behind.
	waiting time.Time
}

func newCanary(b *Backend, beat time.Duration) *canary {
	return &canary{backend: b, name: rand.String(10), beat: beat}
}

func (c *canary) key() string { return "/canaries/" + c.name }

// sing writes until ctx ends.
func (c *canary) sing(ctx context.Context) {
	ticker := time.NewTicker(c.beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			revision, err := c.write(ctx, now)
			if ctx.Err() != nil {
				return
			}
			c.mu.Lock()
			c.refusal = err
			if revision > 0 {
				if c.heardOf >= c.sung {
					c.waiting = now
				}
				c.sung = revision
			}
			c.mu.Unlock()
		}
	}
}

func (c *canary) write(ctx context.Context, now time.Time) (int64, error) {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": c.name}, "at": now})
	if err != nil {
		return 0, fmt.Errorf("encoding the canary: %w", err)
	}
	c.mu.Lock()
	expected := c.sung
	c.mu.Unlock()
	for {
		revision, err := c.backend.write(ctx, write{key: c.key(), data: data, expected: expected, ttl: uint64(canaryTTL.Seconds())})
		if err != nil || revision > 0 {
			return revision, err
		}
		// It expired meanwhile, or was written with an unknown outcome.
		found, _, err := c.backend.read(ctx, c.key())
		if err != nil {
			return 0, err
		}
		expected = 0
		if found != nil {
			expected = found.revision
		}
	}
}

// listen follows the record until ctx ends.
func (c *canary) listen(ctx context.Context) {
	t := c.backend.tail
	v := t.now()
	for {
		seen, err := t.since(ctx, v.upTo, only(c.key()))
		if err != nil { // too far behind, or away: what is now will do
			seen = t.now()
		}
		v = seen
		c.mu.Lock()
		for _, change := range v.changes {
			c.heardOf = change.revision
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-v.moved:
		}
	}
}

// writable tells what the last write was refused for.
func (c *canary) writable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal != nil {
		return fmt.Errorf("the database takes no writes: %w", c.refusal)
	}
	return nil
}

// heard tells since when watches stand still.
func (c *canary) heard() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waited := time.Since(c.waiting); c.heardOf < c.sung && waited > canaryPatience {
		return fmt.Errorf("watches stand still: what was written %s ago was not seen", waited.Round(time.Second))
	}
	return nil
}
