package journal

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/pkg/health"
)

const (
	// tellSpacing is the least time between two transactions of what is told: a
	// game that starts has several statuses in that time, and many games do.
	tellSpacing = 100 * time.Millisecond
	// toldTogether is how many games are told of in one transaction at most.
	toldTogether = 1000
	// untoldPerGame bounds what waits for a database that is away. A status is kept
	// in the same database, so there is hardly ever a second one to tell of.
	untoldPerGame = 64
)

// Telling is what is to be kept of one game's health.
type Telling struct {
	// Snapshot is the latest.
	Snapshot health.Snapshot
	// Events were not told before; oldest first.
	Events []health.Event
}

// told is what is remembered of a game's last snapshot.
type told struct {
	events []string // the ids of those that it tells of
	digest uint64   // of what it says, whenever it was taken
}

func remember(snapshot health.Snapshot) told {
	snapshot.At = time.Time{}
	hash := fnv.New64a()
	_, _ = hash.Write(snapshot.JSON()) // never fails
	return told{events: snapshot.Told, digest: hash.Sum64()}
}

// Tell notes a game's health by a status that is written, and all the events that
// this status tells of. It is kept soon, at the latest by Close: events that were
// not told before, their announcements and the snapshot in one transaction. The
// latest snapshot of a game takes the place of those that wait.
func (j *Journal) Tell(snapshot health.Snapshot, events []health.Event) {
	game, next := snapshot.Game(), remember(snapshot)
	j.mu.Lock()
	defer j.mu.Unlock()
	last := j.told[game]
	known := func(e health.Event) bool { return slices.Contains(last.events, e.ID()) }
	fresh := slices.DeleteFunc(slices.Clone(events), known)
	if len(fresh) == 0 && next.digest == last.digest {
		return
	}
	j.told[game] = next
	j.waitLocked(Telling{snapshot, append(j.untold[game].Events, fresh...)})
	wake(j.tellings)
}

// waitLocked keeps what a game has to tell until it is written.
func (j *Journal) waitLocked(t Telling) {
	if more := len(t.Events) - untoldPerGame; more > 0 {
		j.log.Info("health events are lost: too many wait for the database", "game", t.Snapshot.Game().String(), "events", more)
		j.metrics.lost.Add(float64(more))
		t.Events = slices.Clone(t.Events[more:])
	}
	j.untold[t.Snapshot.Game()] = t
}

// writeTellings writes what waits, a part at a time.
func (j *Journal) writeTellings() (wrote bool, err error) {
	tellings := j.takeTellings()
	if len(tellings) == 0 {
		return false, nil
	}
	for err == nil && len(tellings) > 0 {
		part := tellings[:min(len(tellings), toldTogether)]
		if err = j.tellRows(part); err == nil {
			tellings = tellings[len(part):]
		}
	}
	j.putTellingsBack(tellings)
	if err == nil {
		select {
		case <-time.After(tellSpacing):
		case <-j.hurry:
		case <-j.closing:
		}
	}
	return true, err
}

func (j *Journal) tellRows(part []Telling) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	began := time.Now()
	err := j.rows.Tell(ctx, part)
	j.metrics.committed(ofHealth, began, err)
	return err
}

func (j *Journal) takeTellings() []Telling {
	j.mu.Lock()
	defer j.mu.Unlock()
	tellings := make([]Telling, 0, len(j.untold))
	for _, t := range j.untold {
		tellings = append(tellings, t)
	}
	j.telling, j.untold = j.untold, map[types.NamespacedName]Telling{}
	return tellings
}

// putTellingsBack puts down what was in hand, and what of it was not written back
// to what waits. It leaves the snapshot alone that was told since.
func (j *Journal) putTellingsBack(tellings []Telling) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.telling = nil
	close(j.heard)
	j.heard = make(chan struct{})
	for _, t := range tellings {
		if newer, ok := j.untold[t.Snapshot.Game()]; ok {
			t = Telling{newer.Snapshot, append(t.Events, newer.Events...)}
		}
		j.waitLocked(t)
	}
}
