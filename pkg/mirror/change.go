package mirror

import "galaxy.io/runtime-manager/pkg/engine"

// show brings an inspect's answer into the picture. A container that is not
// ours is none of our business.
func (m *Mirror) show(c engine.Container, asked uint64) {
	m.mu.Lock()
	m.followedLocked(c.ID, asked)
	changed := c.Installation == m.options.Installation && m.picture.put(c, asked, m.options.Clock.Now())
	m.mu.Unlock()
	if changed {
		m.options.OnChange(c.Game)
	}
}

// drop takes a container out of the picture that the engine does not know.
func (m *Mirror) drop(id string, asked uint64) {
	m.mu.Lock()
	m.followedLocked(id, asked)
	known := m.picture.drop(id, asked)
	m.mu.Unlock()
	if known != nil {
		m.options.OnChange(known.container.Game)
	}
}

// followedLocked notes that an inspect followed a container's event, if it was
// asked for after it.
func (m *Mirror) followedLocked(id string, asked uint64) {
	if before, waits := m.announced[id]; waits && asked > before {
		delete(m.announced, id)
	}
}

// compare brings a list into the picture and returns the containers that it
// shows as new or changed: the list tells little of them, an inspect the rest.
func (m *Mirror) compare(listed []engine.Container, asked uint64) []string {
	changed, games := m.enter(listed, asked)
	for _, game := range games {
		m.options.OnChange(game)
	}
	return changed
}

func (m *Mirror) enter(listed []engine.Container, asked uint64) (changed []string, games []engine.GameID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.options.Clock.Now()
	m.listedAt = now
	there := make(map[string]bool, len(listed))
	for _, c := range listed {
		there[c.ID] = true
		if known := m.picture.entries[c.ID]; known != nil {
			if known.container.State == c.State && known.container.Name == c.Name {
				continue
			}
			c.CreatedAt = known.container.CreatedAt // a list may round
		}
		if m.picture.put(c, asked, now) {
			m.countMissedLocked(c.ID)
			changed, games = append(changed, c.ID), append(games, c.Game)
		}
	}
	for id := range m.picture.entries {
		if there[id] {
			continue
		}
		if known := m.picture.drop(id, asked); known != nil {
			m.countMissedLocked(id)
			delete(m.announced, id)
			games = append(games, known.container.Game)
		}
	}
	return changed, games
}

// countMissedLocked counts a change that no event announced. The first list
// announces itself.
func (m *Mirror) countMissedLocked(id string) {
	if _, announced := m.announced[id]; m.seen && !announced {
		m.metrics.eventsMissed.Inc()
	}
}
