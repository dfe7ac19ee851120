package mirror

import (
	"context"

	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/pkg/engine"
)

// inspectDirty is one worker: it asks what became of containers that may have
// changed. One that does not answer is asked again later, with a growing delay.
func (m *Mirror) inspectDirty(ctx context.Context) {
	for {
		id, shutdown := m.dirty.Get()
		if shutdown {
			return
		}
		if err := m.inspect(ctx, id); err != nil && ctx.Err() == nil {
			m.dirty.AddRateLimited(id)
		} else {
			m.dirty.Forget(id)
		}
		m.dirty.Done(id)
	}
}

// inspect asks about one container and brings the answer into the picture.
func (m *Mirror) inspect(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, m.options.InspectTimeout)
	defer cancel()
	asked := m.ask()
	m.metrics.inspects.Inc()
	c, err := m.options.Reader.Inspect(ctx, id)
	switch engine.KindOf(err) {
	case "":
		m.show(c, asked)
		return nil
	case engine.NotFound:
		m.drop(id, asked)
		return nil
	case engine.Timeout:
		m.metrics.inspectTimeouts.Inc()
		return err
	default:
		return err
	}
}

// ask numbers a question.
func (m *Mirror) ask() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return m.asked
}

// list asks for everything. On a new stream every container is inspected:
// what happened before it has no event, and a list does not tell two runs of a
// container apart.
func (m *Mirror) list(ctx context.Context, newStream bool) error {
	listCtx, cancel := context.WithTimeout(ctx, m.options.ListTimeout)
	defer cancel()
	asked := m.ask()
	m.metrics.lists.Inc()
	listed, err := m.options.Reader.List(listCtx, m.options.Installation)
	if err != nil {
		return err
	}
	changed := m.compare(listed, asked)
	if newStream {
		changed = changed[:0]
		for _, c := range listed {
			changed = append(changed, c.ID)
		}
	}
	m.mu.Lock()
	seen := m.seen
	m.mu.Unlock()
	if seen {
		for _, id := range changed {
			m.dirty.Add(id)
		}
		return nil
	}
	return m.firstSight(ctx, changed)
}

// firstSight completes the first picture: it is not shown before every
// container was asked once, answer or not.
func (m *Mirror) firstSight(ctx context.Context, ids []string) error {
	group := errgroup.Group{}
	group.SetLimit(m.options.Inspectors)
	for _, id := range ids {
		group.Go(func() error {
			if err := m.inspect(ctx, id); err != nil {
				m.dirty.AddRateLimited(id)
			}
			return nil
		})
	}
	_ = group.Wait() // no error is returned: a container that does not answer is asked again
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.mu.Lock()
	m.seen = true
	m.mu.Unlock()
	return nil
}
