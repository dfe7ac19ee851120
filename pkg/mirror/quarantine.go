package mirror

import (
	"context"

	"galaxy.io/runtime-manager/pkg/engine"
)

// wonder has a container inspected: at once, unless it is known not to answer.
func (m *Mirror) wonder(id string) {
	if m.isUnresponsive(id) {
		m.slow.Add(id)
		return
	}
	m.dirty.Add(id)
}

// lookAgain inspects a container that did not answer before, and again with a
// growing delay. The workers that do it are few and apart from the others, for
// each call takes its full time: those who answer never wait for those who do not.
func (m *Mirror) lookAgain(ctx context.Context, id string) {
	switch err := m.inspect(ctx, id, m.options.InspectTimeout); engine.KindOf(err) {
	case "":
		m.slow.Forget(id)
	case engine.Timeout:
		if ctx.Err() != nil {
			return
		}
		m.quarantine(id)
		m.slow.AddRateLimited(id)
	default:
		m.slow.Forget(id)
		m.dirty.AddRateLimited(id)
	}
}

// quarantine marks a container that does not answer, for all to see.
func (m *Mirror) quarantine(id string) {
	m.mu.Lock()
	e := m.picture.entries[id]
	if e == nil || m.unresponsive[id] {
		m.mu.Unlock()
		return
	}
	m.unresponsive[id] = true
	m.metrics.quarantined.Set(float64(len(m.unresponsive)))
	game := e.container.Game
	m.mu.Unlock()
	m.options.Log.Info("container does not answer", "game", game.String(), "container", id)
	m.options.OnChange(game)
}

// acquitLocked takes the mark off a container that answered, or is gone, and
// says whether it had one.
func (m *Mirror) acquitLocked(id string) bool {
	if !m.unresponsive[id] {
		return false
	}
	delete(m.unresponsive, id)
	m.metrics.quarantined.Set(float64(len(m.unresponsive)))
	return true
}

func (m *Mirror) isUnresponsive(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unresponsive[id]
}
