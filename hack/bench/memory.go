package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// inMemory is level 3.
func (b *bench) inMemory(ctx context.Context) error {
	fmt.Print("\n3. Memory of the API server, watch cache and all\n")
	table := newTable(b.contenders, column{"resident, MiB", 0}, column{"peak, MiB", 0})
	for round := range b.rounds {
		contenders := slices.Clone(b.contenders)
		if round%2 == 1 {
			slices.Reverse(contenders)
		}
		for _, contender := range contenders {
			if err := b.remember(ctx, contender, b.records, table); err != nil {
				return err
			}
		}
	}
	table.print()
	if b.many == 0 {
		return nil
	}
	table = newTable([]string{"ours"}, column{"resident, MiB", 0}, column{"peak, MiB", 0})
	if err := b.remember(ctx, "ours", b.many, table); err != nil {
		return err
	}
	table.print()
	return nil
}

// remember measures one contender with a number of records: empty, when they were
// all created and watched, and when the process is started again. (To be watched
// is to be in the watch cache.)
func (b *bench) remember(ctx context.Context, contender string, records int, table *table) (err error) {
	r, err := b.apiRig(ctx, contender)
	if r != nil {
		defer func() {
			err = errors.Join(err, r.stop(), b.database.drop(context.WithoutCancel(ctx), "bench_"+contender))
		}()
	}
	if err != nil {
		return err
	}
	note := func(row string) error {
		if err := r.idle(ctx); err != nil {
			return err
		}
		m, err := memoryOf(r.server)
		table.add(row, contender, m.resident, m.peak)
		return err
	}
	if err := note("empty"); err != nil {
		return err
	}
	if err := r.fill(records); err != nil {
		return err
	}
	if err := note(fmt.Sprintf("%d created", records)); err != nil {
		return err
	}
	if err := r.stop(); err != nil {
		return err
	}
	if err := r.serve(ctx); err != nil {
		return err
	}
	return note(fmt.Sprintf("%d, started anew", records))
}
