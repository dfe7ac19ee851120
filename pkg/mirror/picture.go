package mirror

import (
	"reflect"
	"slices"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// picture is what the engine told of its containers, with the order of its
// answers kept. It has no lock of its own.
type picture struct {
	entries map[string]*entry // by container id
	games   map[engine.GameID]map[string]*entry
	// asked is the number of the last question; open holds those without an
	// answer yet.
	asked uint64
	open  map[uint64]time.Time // when each was asked
	// gone holds the containers that vanished, with the question that told it,
	// for as long as an earlier question is open: its answer may still show them.
	gone map[string]uint64
}

// entry is what is known of one container.
type entry struct {
	container engine.Container
	asked     uint64    // the question that this is the answer to
	askedAt   time.Time // by our clock
	at        time.Time
}

func newPicture() picture {
	return picture{
		entries: map[string]*entry{}, games: map[engine.GameID]map[string]*entry{},
		open: map[uint64]time.Time{}, gone: map[string]uint64{},
	}
}

// ask numbers a question. answered must follow, with an answer or without.
func (p *picture) ask(now time.Time) uint64 {
	p.asked++
	p.open[p.asked] = now
	return p.asked
}

// answered closes a question, and forgets the vanished that no open question
// can bring back.
func (p *picture) answered(asked uint64) {
	delete(p.open, asked)
	for id, told := range p.gone {
		if !p.openBefore(told) {
			delete(p.gone, id)
		}
	}
}

func (p *picture) openBefore(asked uint64) bool {
	for earlier := range p.open {
		if earlier < asked {
			return true
		}
	}
	return false
}

// told says that the answer to a later question is known for a container.
func (p *picture) told(id string, asked uint64) bool {
	if e := p.entries[id]; e != nil {
		return e.asked > asked
	}
	return p.gone[id] > asked
}

// put enters what is told of a container, and says whether that is news.
func (p *picture) put(c engine.Container, asked uint64, at time.Time) bool {
	if p.told(c.ID, asked) {
		return false
	}
	known := p.entries[c.ID]
	if known != nil && sameVerdict(known.container, c) {
		c.Health = known.container.Health
	}
	e := &entry{container: c, asked: asked, askedAt: p.open[asked], at: at}
	p.entries[c.ID] = e
	game := p.games[c.Game]
	if game == nil {
		game = map[string]*entry{}
		p.games[c.Game] = game
	}
	game[c.ID] = e
	return known == nil || !reflect.DeepEqual(known.container, c)
}

// sameVerdict says that a run's health is as it was: what a later check wrote is
// no news.
func sameVerdict(known, told engine.Container) bool {
	return known.Health != nil && told.Health != nil && known.Health.State == told.Health.State && known.StartedAt.Equal(told.StartedAt)
}

// drop takes a vanished container out. It returns what was known of it, nil if
// its absence is no news.
func (p *picture) drop(id string, asked uint64) *entry {
	if p.told(id, asked) {
		return nil
	}
	if p.openBefore(asked) {
		p.gone[id] = asked
	}
	known := p.entries[id]
	if known == nil {
		return nil
	}
	delete(p.entries, id)
	game := p.games[known.container.Game]
	if delete(game, id); len(game) == 0 {
		delete(p.games, known.container.Game)
	}
	return known
}

// of returns a game's containers, oldest first.
func (p *picture) of(game engine.GameID) []*entry {
	entries := make([]*entry, 0, len(p.games[game]))
	for _, e := range p.games[game] {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		if order := a.container.CreatedAt.Compare(b.container.CreatedAt); order != 0 {
			return order
		}
		if a.container.ID < b.container.ID {
			return -1
		}
		return 1
	})
	return entries
}
