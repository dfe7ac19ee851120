package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// game is a turn counter that survives its process: every turn is on disk
// before it is told.
type game struct {
	id      string
	version string
	path    string
	started time.Time

	mu     sync.Mutex
	turn   int
	frozen bool
}

// errFrozen is why a game that was told to freeze makes no turn.
var errFrozen = errors.New("the game is frozen")

// openGame reads the counter from the state directory; a new game begins at 0.
func openGame(id, version, stateDir string) (*game, error) {
	g := &game{id: id, version: version, path: filepath.Join(stateDir, "turn.json"), started: time.Now()}
	content, err := os.ReadFile(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	var saved struct{ Turn int }
	if err := json.Unmarshal(content, &saved); err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	g.turn = saved.Turn
	return g, nil
}

// advance makes one turn.
func (g *game) advance() (status, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen {
		return status{}, errFrozen
	}
	if err := g.save(g.turn + 1); err != nil {
		return status{}, err
	}
	g.turn++
	return g.statusLocked(), nil
}

// freeze makes the counter stand still, or lets it go on.
func (g *game) freeze(frozen bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = frozen
}

// save writes beside the file and moves it there, so that a crash at any point
// leaves a whole turn; what it leaves beside, the next turn overwrites.
func (g *game) save(turn int) error {
	content, err := json.Marshal(map[string]int{"turn": turn})
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	file, err := os.OpenFile(g.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), g.path)
	}
	if err != nil {
		return fmt.Errorf("writing the state: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return syncDirectory(filepath.Dir(g.path))
}

// syncDirectory makes a rename in it outlive a crash of the host.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	if err := errors.Join(directory.Sync(), directory.Close()); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	return nil
}

// status is what the game tells of itself.
type status struct {
	Game      string    `json:"game"`
	Version   string    `json:"version"`
	Turn      int       `json:"turn"`
	StartedAt time.Time `json:"startedAt"`
}

func (g *game) status() status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.statusLocked()
}

func (g *game) statusLocked() status {
	return status{Game: g.id, Version: g.version, Turn: g.turn, StartedAt: g.started}
}
