package mirror

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"

	"galaxy.io/runtime-manager/pkg/engine"
)

// overlap is how far before the last event a new stream begins: events of one
// moment are not delivered in one piece.
const overlap = 2 * time.Second

// reconnect is the delay before the next stream: it grows while streams end, or
// the engine is away, one time after the other.
func reconnect() wait.Backoff {
	return wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 10 * time.Second}
}

// steady is how long a stream must stand for the delay to begin anew.
const steady = 30 * time.Second

var errStreamEnded = errors.New("the event stream ended")

// Run keeps the picture true until ctx ends, and returns nil then. An engine
// that is away is not an error: it goes on trying. A mirror runs once.
func (m *Mirror) Run(ctx context.Context) error {
	m.dirty, m.slow = m.queue(time.Second, time.Minute), m.queue(5*time.Second, 2*time.Minute)
	var group errgroup.Group
	for range m.options.Inspectors {
		group.Go(func() error { work(ctx, m.dirty, m.look); return nil })
	}
	for range m.options.SlowInspectors {
		group.Go(func() error { work(ctx, m.slow, m.lookAgain); return nil })
	}
	backoff := reconnect()
	for ctx.Err() == nil {
		begin := m.options.Clock.Now()
		err := m.follow(ctx)
		m.options.Log.V(1).Info("not following the engine", "reason", err.Error())
		if m.options.Clock.Since(begin) > steady {
			backoff = reconnect()
		}
		m.sleep(ctx, backoff.Step(), nil)
	}
	m.dirty.ShutDown()
	m.slow.ShutDown()
	return group.Wait()
}

// queue is one of containers to inspect, whose delay after a failure grows.
func (m *Mirror) queue(initial, longest time.Duration) workqueue.TypedRateLimitingInterface[string] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](initial, longest),
		workqueue.TypedRateLimitingQueueConfig[string]{Clock: m.options.Clock},
	)
}

// follow lives as long as one event stream: subscribe, list, and list again
// from time to time. It returns what ended it.
func (m *Mirror) follow(ctx context.Context) error {
	info, err := m.info(ctx)
	if err != nil {
		m.unreachable(ctx, err)
		return err
	}
	m.identify(info)
	group, ctx := errgroup.WithContext(ctx)
	subscribed := make(chan struct{})
	group.Go(func() error {
		err := m.options.Reader.Events(ctx, m.options.Installation, m.since(), func() { close(subscribed) }, m.hear)
		if err == nil {
			err = errStreamEnded
		}
		select {
		case <-subscribed: // an engine that closes a stream may be well: the next Info tells
			m.metrics.reconnects.Inc()
		default:
			m.unreachable(ctx, err)
		}
		return err
	})
	group.Go(func() error {
		select {
		case <-subscribed:
		case <-ctx.Done():
			return ctx.Err()
		}
		for first := true; ctx.Err() == nil; first = false {
			if err := m.list(ctx, first); err != nil {
				m.unreachable(ctx, err)
				return err
			}
			m.reached(info)
			m.sleep(ctx, m.options.Resync*9/10+rand.N(m.options.Resync/5+1), m.relist)
		}
		return ctx.Err()
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
	m.metrics.events.Inc()
	m.heedLocked(event)
	// A signal changes nothing: what it leads to has an event of its own.
	hint := event.Action != "kill" && !m.knownLocked(event)
	if hint {
		m.announceLocked(event)
	}
	m.mu.Unlock()
	if hint {
		m.wonder(event.ContainerID)
	}
}

// knownLocked says that a container was inspected after an event happened, as
// who caused it does: there is nothing to ask. Only an engine on this host has
// the clock that tells.
func (m *Mirror) knownLocked(event engine.Event) bool {
	e := m.picture.entries[event.ContainerID]
	return e != nil && e.container.Inspected && e.askedAt.After(event.At) && !m.fleet.Info.BootedAt.IsZero()
}

// identify tells of another engine than before, and it does so before that
// one's list is believed.
func (m *Mirror) identify(info engine.Info) {
	m.mu.Lock()
	m.contact = m.options.Clock.Now()
	known := m.fleet.Info
	m.mu.Unlock()
	if known.ID == "" || known.ID == info.ID {
		return
	}
	m.options.Log.Info("another engine answers", "engine", info.Name, "id", info.ID, "before", known.ID)
	m.setFleet(func(f *engine.Fleet) { f.Info = info })
}

// reached notes that the engine answers, and tells if that is news.
func (m *Mirror) reached(info engine.Info) {
	if m.setFleet(func(f *engine.Fleet) { f.Reachable, f.Reason, f.Info = true, "", info }) {
		m.options.Log.Info("engine reachable", "engine", info.Name, "version", info.Version)
	}
}

// unreachable notes that the engine does not answer, unless it is us who ended
// the call. The picture stays.
func (m *Mirror) unreachable(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if m.setFleet(func(f *engine.Fleet) { f.Reachable, f.Reason = false, err.Error() }) {
		m.options.Log.Info("engine unreachable", "reason", err.Error())
	}
}

// setFleet says whether it was news; another reason alone is none.
func (m *Mirror) setFleet(change func(*engine.Fleet)) bool {
	m.mu.Lock()
	fleet := m.fleet
	change(&fleet)
	turned := m.fleet.Since.IsZero() || m.fleet.Reachable != fleet.Reachable
	news := turned || m.fleet.Info != fleet.Info
	if turned {
		fleet.Since = m.options.Clock.Now()
	}
	if turned && !fleet.Reachable {
		fleet.Gone = m.contact
	}
	if news {
		m.fleet = fleet
		m.metrics.tellReachable(fleet.Reachable)
	}
	m.mu.Unlock()
	if news {
		m.options.OnFleet(fleet)
	}
	return news
}

// sleep waits for so long, or until somebody asks not to; nil is nobody.
func (m *Mirror) sleep(ctx context.Context, d time.Duration, asked <-chan struct{}) {
	timer := m.options.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	case <-asked:
	}
}
