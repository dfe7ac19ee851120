package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// throughAPI is level 1.
func (b *bench) throughAPI(ctx context.Context) error {
	fmt.Print("\n1. Through the API server: an update is a merge patch of the status, the watch cache is on top\n")
	return b.level(ctx, b.apiRig, "", "0")
}

// atStorage is level 2.
func (b *bench) atStorage(ctx context.Context) error {
	fmt.Print("\n2. At the storage interface: an update gets the current object as suggestion, there is no watch cache\n")
	single := func(ctx context.Context, contender string) (*rig, error) { return b.storageRig(ctx, contender, 1) }
	err := b.level(ctx, single, "")
	if err != nil || b.processes == 0 {
		return err
	}
	many := func(ctx context.Context, contender string) (*rig, error) {
		return b.storageRig(ctx, contender, b.processes)
	}
	several := *b
	several.clients, several.records = []int{16}, b.records/10
	fmt.Printf("\n2. The same from %d processes on one database, 16 clients in each\n", b.processes)
	return several.level(ctx, many)
}

// level measures all loads, and lists at some resourceVersions. In each round the
// contenders take turns with every load, and who begins changes.
func (b *bench) level(ctx context.Context, setUp func(context.Context, string) (*rig, error), lists ...string) error {
	clear(b.seen)
	loads := newTable(b.contenders,
		column{"operations/s", 0}, column{"watch p50, ms", 1}, column{"watch p99, ms", 1},
		column{"server's CPU, ms/op", 2}, column{"postgres' CPU, ms/op", 2})
	complete := newTable(b.contenders, column{"ms", 0})
	for round := range b.rounds {
		if err := b.round(ctx, round, setUp, lists, loads, complete); err != nil {
			return err
		}
	}
	loads.print()
	complete.print()
	return b.printWatched()
}

func (b *bench) round(
	ctx context.Context, round int, setUp func(context.Context, string) (*rig, error), lists []string, loads, complete *table,
) (err error) {
	var rigs []*rig
	defer func() {
		for _, r := range rigs {
			err = errors.Join(err, r.stop(), b.database.drop(context.WithoutCancel(ctx), "bench_"+r.contender))
		}
	}()
	for _, contender := range b.contenders {
		r, err := setUp(ctx, contender)
		if r != nil {
			rigs = append(rigs, r)
		}
		if err != nil {
			return err
		}
		if err := r.fill(b.records); err != nil {
			return err
		}
	}
	if round%2 == 1 {
		slices.Reverse(rigs)
	}
	for _, version := range lists {
		for _, r := range rigs {
			took, err := r.list(version, b.records)
			if err != nil {
				return err
			}
			for _, ms := range took {
				complete.add(fmt.Sprintf("list of %d at %q", b.records, version), r.contender, ms)
			}
		}
	}
	for _, op := range b.ops {
		for _, clients := range b.clients {
			for _, r := range rigs {
				s, err := r.phase(Phase{Op: op, Clients: clients, Window: b.window})
				if err != nil {
					return err
				}
				loads.add(fmt.Sprintf("%s by %d", op, clients), r.contender, s.rate, s.p50, s.p99, s.serverCPU, s.postgresCPU)
			}
		}
	}
	return nil
}

// watched adds up what the watchers of a contender saw.
func (b *bench) watched(contender string, s Seen) {
	sum, ok := b.seen[contender]
	if !ok {
		sum = &Seen{}
		b.seen[contender] = sum
	}
	sum.Events += s.Events
	sum.Closures += s.Closures
	sum.Faults += s.Faults
	if sum.First == "" {
		sum.First = s.First
	}
}

// printWatched fails if a list or watcher of ours saw anything but each write
// once, in order. What kine loses is a finding, and not a failure of the run.
func (b *bench) printWatched() (err error) {
	fmt.Println()
	for _, contender := range b.contenders {
		s := b.seen[contender]
		fmt.Printf("watches of %s: %d events, %d closures, %d faults (lost, repeated or out of order) %s\n",
			contender, s.Events, s.Closures, s.Faults, s.First)
		if s.Faults > 0 && contender == "ours" {
			err = fmt.Errorf("a watch or a list of ours: %s", s.First)
		}
	}
	return err
}
