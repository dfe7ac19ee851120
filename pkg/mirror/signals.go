package mirror

import (
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// sent is a signal that an event told of. It is evidence, and no fact: nothing
// is inspected for it, and one that was lost is not missed.
type sent struct {
	name string
	at   time.Time // by the engine's clock
}

// heedLocked keeps what an event says of signals, for the run that it is about.
func (m *Mirror) heedLocked(event engine.Event) {
	switch {
	case event.Signal != "":
		m.signals[event.ContainerID] = sent{event.Signal, event.At}
	case event.Action == "start":
		delete(m.signals, event.ContainerID)
	}
}

// signalLocked is the last signal of a container's present run, if it runs or
// ran when the signal was sent.
func (m *Mirror) signalLocked(c *engine.Container) string {
	if s, ok := m.signals[c.ID]; ok && !s.at.Before(c.StartedAt) {
		return s.name
	}
	return ""
}
