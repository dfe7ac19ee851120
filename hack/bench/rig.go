package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// fillers is how many clients make the records that a rig begins with.
const fillers = 64

// rig is one contender set up: a fresh database, an API server on it or none,
// and the processes that put load on it.
type rig struct {
	bench     *bench
	contender string
	url       string
	dir       string
	server    *process // nil at the storage interface
	loads     []*process
	// watchers follow: the loads themselves at the storage interface, where what
	// serves is in them; else a process that has nothing else to do.
	watchers []*process
	writes   int64 // since the database was made, by all processes
}

// newRig makes the database; serve and addLoads start the processes.
func (b *bench) newRig(ctx context.Context, contender string) (*rig, error) {
	url, err := b.database.fresh(ctx, "bench_"+contender)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, contender)
	return &rig{bench: b, contender: contender, url: url, dir: dir}, err
}

// storageRig is a contender at its storage interface.
func (b *bench) storageRig(ctx context.Context, contender string, processes int) (*rig, error) {
	r, err := b.newRig(ctx, contender)
	if err != nil {
		return nil, err
	}
	j := job{Contender: contender, URL: r.url, Kine: b.kine}
	return r, r.storageLoads(ctx, j, processes)
}

// apiRig is a contender behind an API server.
func (b *bench) apiRig(ctx context.Context, contender string) (*rig, error) {
	r, err := b.newRig(ctx, contender)
	if err != nil {
		return nil, err
	}
	return r, r.serve(ctx)
}

// serve starts the API server, a load on it, and a watcher.
func (r *rig) serve(ctx context.Context) (err error) {
	j := job{Serve: true, Contender: r.contender, URL: r.url, Kine: r.bench.kine, Profile: r.bench.profile("api", r.contender)}
	if r.server, err = start(ctx, j); err != nil {
		return err
	}
	var kubeconfig string
	if err := r.server.Call("API.Start", r.dir, &kubeconfig); err != nil {
		return fmt.Errorf("starting the API server on %s: %w", r.contender, err)
	}
	j = job{Contender: r.contender, Kubeconfig: kubeconfig, Template: r.bench.template}
	for _, role := range []*[]*process{&r.loads, &r.watchers} {
		p, err := start(ctx, j)
		if err != nil {
			return err
		}
		*role = append(*role, p)
	}
	return r.follow(r.watchers[0])
}

// storageLoads starts processes one after the other: kine's collide where they
// make their table.
func (r *rig) storageLoads(ctx context.Context, j job, processes int) error {
	for n := range processes {
		j.Process, j.Template = n, r.bench.template
		j.Profile = r.bench.profile("storage", fmt.Sprintf("%s-%d", r.contender, n))
		p, err := start(ctx, j)
		if err != nil {
			return err
		}
		r.loads, r.watchers = append(r.loads, p), append(r.watchers, p)
		if err := r.follow(p); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) follow(p *process) error {
	if err := p.Call("Load.Follow", struct{}{}, &struct{}{}); err != nil {
		return fmt.Errorf("%s: %w", r.contender, err)
	}
	return nil
}

// each calls some processes at once.
func (r *rig) each(processes []*process, call func(*process) error) error {
	var group errgroup.Group
	for _, p := range processes {
		group.Go(func() error { return call(p) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%s: %w", r.contender, err)
	}
	return nil
}

// serving are the processes that do the contender's work: at the storage
// interface the load does it itself.
func (r *rig) serving() []*process {
	if r.server != nil {
		return []*process{r.server}
	}
	return r.loads
}

// sample is what a phase measured.
type sample struct {
	rate                   float64 // operations a second
	p50, p99               float64 // of the watch, in milliseconds
	serverCPU, postgresCPU float64 // milliseconds an operation
}

// phase puts load on, until its last event was seen.
func (r *rig) phase(p Phase) (sample, error) {
	server, postgres := cpuOf(r.serving()...), r.bench.database.cpu()
	done := make(chan Done, len(r.loads))
	err := r.each(r.loads, func(l *process) error {
		var d Done
		err := l.Call("Load.Run", p, &d)
		done <- d
		return err
	})
	if err != nil {
		return sample{}, err
	}
	close(done)
	var operations int64
	var took time.Duration
	for d := range done {
		operations, r.writes, took = operations+d.Operations, r.writes+d.Writes, max(took, d.Took)
	}
	latencies, err := r.settle()
	if err != nil {
		return sample{}, err
	}
	perOperation := func(d time.Duration) float64 { return milliseconds(d) / float64(operations) }
	return sample{
		rate: float64(operations) / took.Seconds(),
		p50:  milliseconds(quantile(latencies, 0.5)), p99: milliseconds(quantile(latencies, 0.99)),
		serverCPU:   perOperation(cpuOf(r.serving()...) - server),
		postgresCPU: perOperation(r.bench.database.cpu() - postgres),
	}, nil
}

// settle waits until every watcher has seen every write, and takes their counts.
func (r *rig) settle() (latencies []time.Duration, err error) {
	all := make(chan Seen, len(r.watchers))
	err = r.each(r.watchers, func(l *process) error {
		var seen Seen
		err := l.Call("Load.Settle", r.writes, &seen)
		all <- seen
		return err
	})
	close(all)
	for seen := range all {
		latencies = append(latencies, seen.Latencies...)
		r.bench.watched(r.contender, seen)
	}
	return latencies, err
}

// fill makes records, in equal parts by each process.
func (r *rig) fill(records int) error {
	_, err := r.phase(Phase{Op: "create", Clients: fillers, Operations: int64(records / len(r.loads))})
	return err
}

// list measures complete lists, in milliseconds.
func (r *rig) list(resourceVersion string, want int) ([]float64, error) {
	var listed Listed
	err := r.loads[0].Call("Load.List", Listing{resourceVersion, want, 5}, &listed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.contender, err)
	}
	if listed.Fault != "" {
		r.bench.watched(r.contender, Seen{Faults: 1, First: listed.Fault})
	}
	var each []float64
	for _, t := range listed.Took {
		each = append(each, milliseconds(t))
	}
	return each, nil
}

// idleTime is how long a server is left alone before its memory is read: its garbage
// collector runs at least every two minutes, and gives back pages as it goes on.
const idleTime = 10 * time.Second

func (r *rig) idle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleTime):
		return nil
	}
}

// stop ends the processes, the server last.
func (r *rig) stop() (err error) {
	stopped := map[*process]bool{}
	for _, p := range slices.Concat(r.loads, r.watchers) {
		if !stopped[p] {
			stopped[p] = true
			err = errors.Join(err, p.stop())
		}
	}
	r.loads, r.watchers = nil, nil
	if r.server != nil {
		err = errors.Join(err, r.server.stop())
		r.server = nil
	}
	return err
}
