//go:build integration

package app

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// shelf is an engine on which nothing happens. Its containers lie in a file and
// are read anew for each answer, as Docker's come over its socket: a process that
// holds one holds little else than what it was told. It changes nothing.
type shelf struct {
	engine.Engine
	file  *os.File
	index shelfIndex
	calls atomic.Int64
}

// shelfIndex tells what lies where in a file.
type shelfIndex struct {
	Info   engine.Info
	Images []engine.Image
	At     map[string][2]int64 // offset and length, by container id
}

// putOnShelf writes all that a simulated engine has of an installation, as it is
// once place has changed each container.
func putOnShelf(b *testing.B, path string, sim *enginetest.Sim, installation string, place func(*engine.Container)) {
	ctx := context.Background()
	file, err := os.Create(path)
	require.NoError(b, err)
	index := shelfIndex{At: map[string][2]int64{}}
	index.Info, err = sim.Info(ctx)
	require.NoError(b, err)
	index.Images, err = sim.Images(ctx)
	require.NoError(b, err)
	listed, err := sim.List(ctx, installation)
	require.NoError(b, err)
	end := int64(0)
	for _, l := range listed {
		c, err := sim.Inspect(ctx, l.ID)
		require.NoError(b, err)
		place(&c)
		require.NoError(b, gob.NewEncoder(file).Encode(c))
		now, err := file.Seek(0, io.SeekCurrent)
		require.NoError(b, err)
		index.At[c.ID], end = [2]int64{end, now - end}, now
	}
	require.NoError(b, file.Close())
	file, err = os.Create(path + ".index")
	require.NoError(b, err)
	require.NoError(b, gob.NewEncoder(file).Encode(index))
	require.NoError(b, file.Close())
}

func openShelf(path string) (*shelf, error) {
	index, err := os.Open(path + ".index")
	if err != nil {
		return nil, err
	}
	defer index.Close()
	s := &shelf{}
	if err := gob.NewDecoder(index).Decode(&s.index); err != nil {
		return nil, err
	}
	s.file, err = os.Open(path)
	return s, err
}

// Info tells who the engine is.
func (s *shelf) Info(context.Context) (engine.Info, error) {
	s.calls.Add(1)
	return s.index.Info, nil
}

// List returns what a list tells.
func (s *shelf) List(context.Context, string) ([]engine.Container, error) {
	s.calls.Add(1)
	all := make([]engine.Container, 0, len(s.index.At))
	for id := range s.index.At {
		c, err := s.read(id)
		if err != nil {
			return nil, err
		}
		all = append(all, engine.Container{
			ID: c.ID, Name: c.Name, Installation: c.Installation, Game: c.Game, UID: c.UID, Operation: c.Operation, SpecHash: c.SpecHash,
			Generation: c.Generation, State: c.State, Image: c.Image, ImageID: c.ImageID, CreatedAt: c.CreatedAt,
		})
	}
	return all, nil
}

// Inspect returns a container, by its id.
func (s *shelf) Inspect(_ context.Context, id string) (engine.Container, error) {
	s.calls.Add(1)
	return s.read(id)
}

func (s *shelf) read(id string) (c engine.Container, err error) {
	at := s.index.At[id]
	if err := gob.NewDecoder(io.NewSectionReader(s.file, at[0], at[1])).Decode(&c); err != nil {
		return c, fmt.Errorf("reading container %s: %w", id, err)
	}
	return c, nil
}

// Images returns every image.
func (s *shelf) Images(context.Context) ([]engine.Image, error) {
	s.calls.Add(1)
	return s.index.Images, nil
}

// JoinNetwork has nobody to connect.
func (s *shelf) JoinNetwork(context.Context, string) error {
	s.calls.Add(1)
	return nil
}

// Events tells of nothing.
func (s *shelf) Events(ctx context.Context, _ string, _ time.Time, subscribed func(), _ func(engine.Event)) error {
	s.calls.Add(1)
	subscribed()
	<-ctx.Done()
	return ctx.Err()
}
