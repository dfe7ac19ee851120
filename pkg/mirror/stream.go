package mirror

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"galaxy.io/runtime-manager/pkg/engine"
)

// overlap is how far before the last event a new stream begins: events of one
// moment are not delivered in one piece.
const overlap = 2 * time.Second

// reconnect is the delay between streams that end: it grows while they end at
// once, and the engine is asked by each.
func reconnect() wait.Backoff {
	return wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 10 * time.Second}
}

// steady is how long a stream must stand for the delay to begin anew.
const steady = 30 * time.Second

// Run keeps the picture true until ctx ends. An engine that is away is not an
// error: it goes on trying.
func (m *Mirror) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range m.options.Inspectors {
		group.Go(func() error { m.inspectDirty(ctx); return nil })
	}
	group.Go(func() error {
		<-ctx.Done()
		m.dirty.ShutDown()
		return nil
	})
	group.Go(func() error {
		backoff := reconnect()
		for ctx.Err() == nil {
			begin := m.options.Clock.Now()
			if err := m.follow(ctx); ctx.Err() == nil {
				m.lost(err)
			}
			if m.options.Clock.Since(begin) > steady {
				backoff = reconnect()
			}
			m.metrics.reconnects.Inc()
			m.sleep(ctx, backoff.Step())
		}
		return nil
	})
	return group.Wait()
}

// follow lives as long as one event stream: subscribe, list, and list again
// from time to time.
func (m *Mirror) follow(ctx context.Context) error {
	info, err := m.info(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	subscribed := make(chan struct{})
	group.Go(func() error {
		err := m.options.Reader.Events(ctx, m.options.Installation, m.since(), func() { close(subscribed) }, m.hear)
		if err == nil {
			err = errors.New("the event stream ended")
		}
		return err
	})
	group.Go(func() error {
		select {
		case <-subscribed:
		case <-ctx.Done():
			return nil
		}
		for first := true; ctx.Err() == nil; first = false {
			if err := m.list(ctx, first); err != nil {
				return err
			}
			m.reached(info)
			m.sleep(ctx, m.options.Resync*9/10+rand.N(m.options.Resync/5+1))
		}
		return nil
	})
	return group.Wait()
}

func (m *Mirror) info(ctx context.Context) (engine.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.InspectTimeout)
	defer cancel()
	return m.options.Reader.Info(ctx)
}

// since is where the next stream begins; zero, which is now, for the first.
func (m *Mirror) since() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lastEvent.IsZero() {
		return time.Time{}
	}
	return m.lastEvent.Add(-overlap)
}

// hear takes an event for what it is, a hint. It never blocks: a reader that
// is slow makes the engine drop events.
func (m *Mirror) hear(event engine.Event) {
	m.mu.Lock()
	if event.At.After(m.lastEvent) {
		m.lastEvent = event.At
	}
	m.announced[event.ContainerID] = true
	m.mu.Unlock()
	m.dirty.Add(event.ContainerID)
}

// reached notes that the engine answers, and tells if that is news.
func (m *Mirror) reached(info engine.Info) {
	m.setFleet(engine.Fleet{Reachable: true, Info: info}, func() {
		m.options.Log.Info("engine reachable", "engine", info.Name, "version", info.Version)
	})
}

// lost notes that the engine does not answer. The picture stays.
func (m *Mirror) lost(err error) {
	// A stream may end although the engine is well: ask before saying so.
	ctx, cancel := context.WithTimeout(context.Background(), m.options.InspectTimeout)
	defer cancel()
	if _, askErr := m.options.Reader.Info(ctx); askErr == nil {
		return
	}
	m.setFleet(engine.Fleet{Reason: err.Error(), Info: m.Fleet().Info}, func() {
		m.options.Log.Info("engine unreachable", "reason", err.Error())
	})
}

func (m *Mirror) setFleet(fleet engine.Fleet, tell func()) {
	fleet.Since = m.options.Clock.Now()
	m.mu.Lock()
	changed := m.fleet.Since.IsZero() || m.fleet.Reachable != fleet.Reachable || m.fleet.Info != fleet.Info
	if changed {
		m.fleet = fleet
	}
	m.mu.Unlock()
	if changed {
		tell()
		m.options.OnFleet(fleet)
	}
}

func (m *Mirror) sleep(ctx context.Context, d time.Duration) {
	timer := m.options.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}
