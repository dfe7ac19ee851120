package mirror

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/util/workqueue"

	"galaxy.io/runtime-manager/pkg/engine"
)

// work is one worker: it asks what became of the containers in a queue. No
// container is with two workers of a queue at a time.
func work(ctx context.Context, queue workqueue.TypedInterface[string], look func(context.Context, string)) {
	for {
		id, shutdown := queue.Get()
		if shutdown {
			return
		}
		look(ctx, id)
		queue.Done(id)
	}
}

// look inspects a container, for as long as it may keep an inspector. One that
// does not answer goes to the slow ones, any other failure is tried again later.
func (m *Mirror) look(ctx context.Context, id string) {
	if take(ctx, m.inspecting) != nil {
		return
	}
	defer give(m.inspecting)
	switch err := m.inspect(ctx, id, m.options.Patience); engine.KindOf(err) {
	case "":
		m.dirty.Forget(id)
	case engine.Timeout:
		m.slow.Add(id)
	default:
		m.dirty.AddRateLimited(id)
	}
}

// inspect asks about one container and brings the answer into the picture.
func (m *Mirror) inspect(ctx context.Context, id string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked := m.ask()
	defer m.answered(asked)
	m.metrics.inspects.Inc()
	began := m.options.Clock.Now()
	c, err := m.options.Reader.Inspect(ctx, id)
	m.metrics.inspectDuration.Observe(since(began, m.options.Clock.Now()))
	switch engine.KindOf(err) {
	case "":
		m.show(c, asked)
		return nil
	case engine.NotFound:
		m.drop(id, asked)
		return nil
	default:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			m.metrics.inspectTimeouts.Inc()
		}
		return err
	}
}

func (m *Mirror) ask() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.picture.ask(m.options.Clock.Now())
}

func (m *Mirror) answered(asked uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.picture.answered(asked)
}

// list asks for everything, and has inspected what the list cannot tell.
func (m *Mirror) list(ctx context.Context, newStream bool) error {
	listCtx, cancel := context.WithTimeout(ctx, m.options.ListTimeout)
	defer cancel()
	asked := m.ask()
	defer m.answered(asked)
	m.metrics.lists.Inc()
	began := m.options.Clock.Now()
	listed, err := m.options.Reader.List(listCtx, m.options.Installation)
	if err != nil {
		return err
	}
	m.metrics.listDuration.Observe(since(began, m.options.Clock.Now()))
	doubtful := m.compare(listed, asked)
	if newStream {
		doubtful = doubtful[:0]
		for _, c := range listed {
			doubtful = append(doubtful, c.ID)
		}
	}
	if !m.hasSeen() {
		m.listImages(ctx)
		return m.firstSight(ctx, doubtful)
	}
	for _, id := range doubtful {
		m.wonder(id)
	}
	m.listImages(ctx)
	return nil
}

// firstSight completes the first picture: it is not shown before every
// container was asked once, answer or not.
func (m *Mirror) firstSight(ctx context.Context, ids []string) error {
	var group errgroup.Group
	group.SetLimit(m.options.Inspectors)
	for _, id := range ids {
		group.Go(func() error { m.look(ctx, id); return nil })
	}
	_ = group.Wait() // none fails: a container that does not answer is asked again
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.mu.Lock()
	m.seen = true
	m.mu.Unlock()
	return nil
}

func (m *Mirror) hasSeen() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}
