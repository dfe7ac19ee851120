package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// target is what the load is put on: an API server, or a bare storage.
type target interface {
	Create(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error)
	// Update writes a new status into the object.
	Update(ctx context.Context, current *unstructured.Unstructured, status map[string]any) (*unstructured.Unstructured, error)
	Get(ctx context.Context, name string) error
	Delete(ctx context.Context, current *unstructured.Unstructured) error
	// List reads all records and counts them.
	List(ctx context.Context, resourceVersion string) (int, error)
	// Now is the newest revision.
	Now(ctx context.Context) (string, error)
	Watch(ctx context.Context, resourceVersion string) (watch.Interface, error)
}

// load is a process that puts load on a target. Its methods with two arguments
// are called by the parent process.
type load struct {
	target  target
	process int
	// template is what all its records are made of.
	template *unstructured.Unstructured
	named    atomic.Int64
	records  []*record
	watcher  *watcher
}

// Phase is one kind of load: it ends after a time, or a number of operations if
// that is not 0.
type Phase struct {
	Op         string
	Clients    int
	Window     time.Duration
	Operations int64
}

// Done is what came of a phase.
type Done struct {
	Operations, Writes int64
	Took               time.Duration
}

// Follow begins to watch all records. There must be none that is written later.
func (l *load) Follow(_ struct{}, _ *struct{}) (err error) {
	l.watcher, err = follow(l.target)
	return err
}

// Run lets the clients loose, each on records of its own.
func (l *load) Run(p Phase, done *Done) error {
	begin := time.Now()
	var operations, writes atomic.Int64
	group, ctx := errgroup.WithContext(context.Background())
	clients := l.share(p.Clients)
	for _, c := range clients {
		group.Go(func() error {
			for ctx.Err() == nil && (p.Operations != 0 || time.Since(begin) < p.Window) {
				if n := operations.Add(1); p.Operations != 0 && n > p.Operations {
					operations.Add(-1)
					return nil
				}
				wrote, err := c.do(ctx, p.Op)
				if err != nil {
					return fmt.Errorf("%s with %d clients: %w", p.Op, p.Clients, err)
				}
				if wrote {
					writes.Add(1)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	*done = Done{Operations: operations.Load(), Writes: writes.Load(), Took: time.Since(begin)}
	l.records = nil
	for _, c := range clients {
		l.records = append(l.records, c.records...)
	}
	return err
}

// Settle waits until the watcher has seen a number of writes, of all processes,
// since it began.
func (l *load) Settle(writes int64, seen *Seen) error {
	*seen = l.watcher.settle(writes)
	return nil
}

// Listing is a list to be measured.
type Listing struct {
	ResourceVersion string
	Want, Times     int
}

// Listed is what lists took, and what was wrong with them.
type Listed struct {
	Took  []time.Duration
	Fault string
}

// List measures complete lists.
func (l *load) List(o Listing, listed *Listed) error {
	for range o.Times {
		begin := time.Now()
		n, err := l.target.List(context.Background(), o.ResourceVersion)
		if err != nil {
			return fmt.Errorf("listing at %q: %w", o.ResourceVersion, err)
		}
		listed.Took = append(listed.Took, time.Since(begin))
		if n != o.Want {
			listed.Fault = fmt.Sprintf("a list at %q has %d records instead of %d", o.ResourceVersion, n, o.Want)
		}
	}
	return nil
}

// client writes its own records, one operation after the other.
type client struct {
	load    *load
	records []*record
	random  *rand.Rand
}

// share deals the records out.
func (l *load) share(clients int) []*client {
	all := make([]*client, clients)
	for i := range all {
		all[i] = &client{load: l, random: rand.New(rand.NewPCG(uint64(i), uint64(l.process)))}
	}
	for i, r := range l.records {
		c := all[i%clients]
		c.records = append(c.records, r)
	}
	return all
}

// mix is the share of each operation in a mixed load, in percent.
var mix = []struct {
	op    string
	share int
}{{"update", 50}, {"create", 20}, {"get", 20}, {"delete", 10}}

func (c *client) do(ctx context.Context, op string) (wrote bool, err error) {
	if op == "mixed" {
		dice := c.random.IntN(100)
		for _, m := range mix {
			op = m.op
			if dice -= m.share; dice < 0 {
				break
			}
		}
	}
	if op == "create" || len(c.records) == 0 {
		return true, c.create(ctx)
	}
	i := c.random.IntN(len(c.records))
	r := c.records[i]
	switch op {
	case "update":
		r.current, err = c.load.target.Update(ctx, r.current, r.status(c.load.template))
		return true, err
	case "get":
		return false, c.load.target.Get(ctx, r.name)
	case "delete":
		last := len(c.records) - 1
		c.records[i] = c.records[last]
		c.records = c.records[:last]
		return true, c.load.target.Delete(ctx, r.current)
	}
	return false, fmt.Errorf("there is no operation %q", op)
}

func (c *client) create(ctx context.Context) (err error) {
	r := &record{name: fmt.Sprintf("game-%d-%d", c.load.process, c.load.named.Add(1))}
	if r.current, err = c.load.target.Create(ctx, r.create(c.load.template)); err == nil {
		c.records = append(c.records, r)
	}
	return err
}
