package mirror

import "galaxy.io/runtime-manager/pkg/engine"

// show brings an inspect's answer into the picture. A container that is not
// ours is none of our business.
func (m *Mirror) show(c engine.Container, asked uint64) {
	m.mu.Lock()
	now := m.options.Clock.Now()
	m.contact = now
	m.followedLocked(c.ID, asked)
	changed := c.Installation == m.options.Installation && m.picture.put(c, asked, now)
	acquitted := m.acquitLocked(c.ID)
	m.mu.Unlock()
	if acquitted {
		m.options.Log.Info("container answers again", "game", c.Game.String(), "container", c.ID)
	}
	if changed || acquitted {
		m.options.OnChange(c.Game)
	}
}

// drop takes a container out of the picture that the engine does not know.
func (m *Mirror) drop(id string, asked uint64) {
	m.mu.Lock()
	m.contact = m.options.Clock.Now()
	m.followedLocked(id, asked)
	known := m.dropLocked(id, asked)
	m.mu.Unlock()
	if known != nil {
		m.options.OnChange(known.container.Game)
	}
}

// dropLocked takes a container out of the picture, and what else is known of it.
func (m *Mirror) dropLocked(id string, asked uint64) *entry {
	known := m.picture.drop(id, asked)
	if m.picture.entries[id] == nil {
		m.acquitLocked(id)
		delete(m.signals, id)
	}
	return known
}

// announceLocked notes an event that an inspect has to follow.
func (m *Mirror) announceLocked(event engine.Event) {
	first := event.At
	if known, waits := m.announced[event.ContainerID]; waits {
		first = known.at
	}
	m.announced[event.ContainerID] = announcement{after: m.picture.asked, at: first}
}

// followedLocked notes that an inspect followed a container's event, if it was
// asked for after it.
func (m *Mirror) followedLocked(id string, asked uint64) {
	if event, waits := m.announced[id]; waits && asked > event.after {
		delete(m.announced, id)
		m.metrics.eventLag.Observe(since(event.at, m.options.Clock.Now()))
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
	m.listedAt, m.contact = now, now
	if m.fleet.Gone.After(m.fleet.Back) {
		m.fleet.Back = now // known to whoever sees what the list tells
	}
	there := make(map[string]bool, len(listed))
	for _, c := range listed {
		there[c.ID] = true
		if known := m.picture.entries[c.ID]; known != nil {
			if known.container.State == c.State && known.container.Name == c.Name {
				if m.doubtHealthLocked(known.container, c, asked) {
					changed = append(changed, c.ID)
				}
				continue
			}
			c.CreatedAt = known.container.CreatedAt // a list may round
		}
		c.Health = nil // without its words it would be shown twice
		if m.picture.put(c, asked, now) {
			m.countMissedLocked(c.ID)
			changed, games = append(changed, c.ID), append(games, c.Game)
		}
	}
	for id := range m.picture.entries {
		if there[id] {
			continue
		}
		if known := m.dropLocked(id, asked); known != nil {
			m.countMissedLocked(id)
			delete(m.announced, id)
			games = append(games, known.container.Game)
		}
	}
	for id := range m.signals {
		if !there[id] {
			delete(m.signals, id)
		}
	}
	return changed, games
}

// doubtHealthLocked says that a list speaks against what is known of a health, or
// has no word for it: what only starts may have come to a verdict since.
func (m *Mirror) doubtHealthLocked(known, listed engine.Container, asked uint64) bool {
	if known.Health == nil || m.picture.told(known.ID, asked) {
		return false
	}
	sick := func(c engine.Container) bool { return c.Health != nil && c.Health.State == engine.HealthUnhealthy }
	if sick(known) != sick(listed) {
		m.countMissedLocked(known.ID)
		return true
	}
	return known.Health.State == engine.HealthStarting
}

// countMissedLocked counts a change that no event announced. The first list
// announces itself.
func (m *Mirror) countMissedLocked(id string) {
	if _, announced := m.announced[id]; m.seen && !announced {
		m.metrics.eventsMissed.Inc()
	}
}
