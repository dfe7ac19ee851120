package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/health"
	"galaxy.io/runtime-manager/pkg/journal"
)

// toldTimeout is how long a status write waits for what the one before told.
const toldTimeout = 10 * time.Second

// herald has each event told that a written status tells of: after the write,
// and where a crash came between the two, at the next manager's first look.
type herald struct {
	journal *journal.Journal
	clock   clock.PassiveClock
	events  *prometheus.CounterVec

	mu sync.Mutex
	// told holds the resource version of each record that was told of.
	told map[types.NamespacedName]string
}

func newHerald(j *journal.Journal, c clock.PassiveClock) *herald {
	h := &herald{
		journal: j, clock: c, told: map[types.NamespacedName]string{},
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "runtime_manager", Name: "health_events_total", Help: "Health events that this process wrote into a status, by type.",
		}, []string{"type"}),
	}
	for _, kind := range health.Types() {
		h.events.WithLabelValues(string(kind))
	}
	return h
}

// look tells of a record as it is stored. It costs nothing where that was done.
func (h *herald) look(record *v1alpha1.GameRuntime) {
	if record.Status.ObservedGeneration == 0 { // nothing was ever told
		return
	}
	h.mu.Lock()
	done := h.told[client.ObjectKeyFromObject(record)] == record.ResourceVersion
	h.mu.Unlock()
	if !done {
		h.tell(record)
	}
}

func (h *herald) tell(record *v1alpha1.GameRuntime) {
	h.journal.Tell(health.SnapshotOf(record, h.clock.Now()), health.Of(record))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told[client.ObjectKeyFromObject(record)] = record.ResourceVersion
}

// replace writes a status by means of write. What only the status before tells of
// is durable by then: after the write, nobody could derive it.
func (h *herald) replace(ctx context.Context, before, after *v1alpha1.GameRuntime, write func() error) error {
	known, now := health.Of(before), health.Of(after)
	if len(missing(known, now)) > 0 {
		if err := h.settle(ctx, before); err != nil {
			return err
		}
	}
	if err := write(); err != nil {
		return err
	}
	for _, event := range missing(now, known) {
		h.events.WithLabelValues(string(event.Type())).Inc()
	}
	h.tell(after)
	return nil
}

// settle waits until what was told of a record is durable.
func (h *herald) settle(ctx context.Context, record *v1alpha1.GameRuntime) error {
	ctx, cancel := context.WithTimeout(ctx, toldTimeout)
	defer cancel()
	if err := h.journal.Told(ctx, client.ObjectKeyFromObject(record)); err != nil {
		return fmt.Errorf("telling of what the status is about to forget: %w", err)
	}
	return nil
}

func (h *herald) forget(name types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.told, name)
}

// tellsMore says that a status tells of an event that the record's own does not.
func tellsMore(record *v1alpha1.GameRuntime, status v1alpha1.GameRuntimeStatus) bool {
	after := &v1alpha1.GameRuntime{ObjectMeta: record.ObjectMeta, Status: status}
	return len(missing(health.Of(after), health.Of(record))) > 0
}

// missing are the events that others lack.
func missing(events, others []health.Event) []health.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e health.Event) bool {
		return slices.ContainsFunc(others, func(o health.Event) bool { return o.ID() == e.ID() })
	})
}
