package journal

import (
	"context"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/pkg/health"
)

// InMemory is a log without a database, for tests of what is built on a journal:
// it survives a journal as a database does.
func InMemory() *Memory { return &Memory{snapshots: map[types.NamespacedName]health.Snapshot{}} }

// Memory is a log that ends with the process.
type Memory struct {
	mu        sync.Mutex
	term      int64
	intents   []Intent
	events    []health.Event
	snapshots map[types.NamespacedName]health.Snapshot
}

// Lead implements Log.
func (m *Memory) Lead(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.term++
	return m.term, nil
}

// Write implements Log.
func (m *Memory) Write(_ context.Context, term int64, begun []Intent, finished map[string]Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	leads := term == m.term || len(begun) == 0
	if leads {
		m.intents = append(m.intents, begun...)
	}
	for i := range m.intents {
		if result, ok := finished[m.intents[i].ID]; ok {
			m.intents[i].Result = result
		}
	}
	if !leads {
		return ErrLedSince
	}
	return nil
}

// Load implements Log.
func (m *Memory) Load(_ context.Context, kept map[string]int) ([]Intent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	type deed struct {
		game   types.NamespacedName
		action string
	}
	var loaded []Intent
	seen := map[deed]int{}
	for _, i := range slices.Backward(m.intents) {
		of := deed{i.Game, i.Action}
		seen[of]++
		if i.Outcome == "" || seen[of] <= kept[i.Action] {
			loaded = append(loaded, i)
		}
	}
	slices.Reverse(loaded)
	return loaded, nil
}

// Tell implements Log.
func (m *Memory) Tell(_ context.Context, tellings []Telling) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range tellings {
		m.snapshots[t.Snapshot.Game()] = t.Snapshot
		for _, event := range t.Events {
			if !slices.ContainsFunc(m.events, func(e health.Event) bool { return e.ID() == event.ID() }) {
				m.events = append(m.events, event)
			}
		}
	}
	return nil
}

// Told implements Log.
func (m *Memory) Told(context.Context) ([]health.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.snapshots)), nil
}

// Events returns what was told of a game, in the order in which it was.
func (m *Memory) Events(game types.NamespacedName) []health.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.events), func(e health.Event) bool { return e.Game() != game })
}
