package mirror

import (
	"reflect"

	"galaxy.io/runtime-manager/pkg/engine"
)

// show brings an inspect's answer into the picture, unless a later question
// was answered already. A container that is not ours is none of our business.
func (m *Mirror) show(c engine.Container, asked uint64) {
	if c.Installation != m.options.Installation {
		return
	}
	m.mu.Lock()
	known := m.containers[c.ID]
	if known != nil && known.asked > asked {
		m.mu.Unlock()
		return
	}
	changed := known == nil || !reflect.DeepEqual(known.container, c)
	m.putLocked(c, asked)
	m.mu.Unlock()
	if changed {
		m.options.OnChange(c.Game)
	}
}

// drop takes a container out of the picture that the engine does not know.
func (m *Mirror) drop(id string, asked uint64) {
	m.mu.Lock()
	known := m.containers[id]
	if known == nil || known.asked > asked {
		delete(m.announced, id)
		m.mu.Unlock()
		return
	}
	m.dropLocked(known)
	m.mu.Unlock()
	m.options.OnChange(known.container.Game)
}

// compare brings a list into the picture and returns the containers that it
// shows as new or changed: a list tells their state, an inspect the rest.
func (m *Mirror) compare(listed []engine.Container, asked uint64) (changed []string) {
	m.mu.Lock()
	var games []engine.GameID
	there := make(map[string]bool, len(listed))
	for _, c := range listed {
		there[c.ID] = true
		known := m.containers[c.ID]
		if known != nil && (known.asked > asked || known.container.State == c.State) {
			continue
		}
		m.countMissedLocked(c.ID)
		if known != nil { // keep what only an inspect tells, as far as it still holds
			state := c.State
			c = known.container
			c.State, c.Inspected = state, false
		}
		m.putLocked(c, asked)
		changed, games = append(changed, c.ID), append(games, c.Game)
	}
	for id, known := range m.containers {
		if there[id] || known.asked > asked {
			continue
		}
		m.countMissedLocked(id)
		m.dropLocked(known)
		games = append(games, known.container.Game)
	}
	m.mu.Unlock()
	for _, game := range games {
		m.options.OnChange(game)
	}
	return changed
}

// countMissedLocked counts a change that no event announced. The first list
// announces itself.
func (m *Mirror) countMissedLocked(id string) {
	if m.seen && !m.announced[id] {
		m.metrics.eventsMissed.Inc()
	}
}

func (m *Mirror) putLocked(c engine.Container, asked uint64) {
	e := &entry{container: c, asked: asked}
	m.containers[c.ID] = e
	if c.Inspected {
		delete(m.announced, c.ID)
	}
	game := m.games[c.Game]
	if game == nil {
		game = map[string]*entry{}
		m.games[c.Game] = game
	}
	game[c.ID] = e
}

func (m *Mirror) dropLocked(e *entry) {
	delete(m.containers, e.container.ID)
	delete(m.announced, e.container.ID)
	game := m.games[e.container.Game]
	delete(game, e.container.ID)
	if len(game) == 0 {
		delete(m.games, e.container.Game)
	}
}
