package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Sim is an engine in memory, with Docker's semantics.
type Sim struct {
	mu         sync.Mutex
	id         string
	containers map[string]*simContainer // by id
	names      map[string]*simContainer
	hostPorts  map[hostPort]*simContainer
	images     map[string]engine.Image // on the engine, by the tag that names it now
	untagged   []engine.Image          // whose tag moved on
	registry   map[string]int          // how often each tag was published
	checked    map[string]bool         // the tags of images with a HEALTHCHECK
	networks   map[string]bool
	built      int // images by hand
	created    int // ids, ports and addresses are never used twice
	picked     int32
	addresses  int

	ahead   time.Duration // of the real clock
	streams map[*stream]bool
	past    []pastEvent

	down       bool
	loseEvents bool
	faults     []*injected
	calls      map[string]int
}

type simContainer struct {
	engine.Container
	spec engine.ContainerSpec
	run  *run    // nil while it does not run
	log  written // by all its runs
}

// run is one run of a container, from a start to an end.
type run struct{ ended chan struct{} }

type hostPort struct {
	port     int32
	protocol string
}

var (
	_ engine.Engine  = (*Sim)(nil)
	_ engine.Console = (*Sim)(nil)
)

// NewSim returns an engine that has these images of the test game.
func NewSim(images ...string) *Sim {
	s := &Sim{
		id:         "sim",
		containers: map[string]*simContainer{}, names: map[string]*simContainer{}, hostPorts: map[hostPort]*simContainer{},
		images: map[string]engine.Image{}, registry: map[string]int{}, checked: map[string]bool{}, networks: map[string]bool{}, picked: 32767,
		streams: map[*stream]bool{}, calls: map[string]int{},
	}
	for _, ref := range images {
		s.images[ref] = gameImage(ref, 0)
	}
	return s
}

// Publish puts an image of the test game where it can be pulled from. A tag that
// is published again names another image from then on.
func (s *Sim) Publish(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry[ref]++
}

// Info tells who the engine is.
func (s *Sim) Info(ctx context.Context) (engine.Info, error) {
	err := s.call(ctx, "Info", "", func() *engine.Error { return nil })
	if err != nil {
		return engine.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return engine.Info{ID: s.id, Name: "sim", Version: "1.0.0"}, nil
}

// List returns what a list tells: no more than the state.
func (s *Sim) List(ctx context.Context, installation string) ([]engine.Container, error) {
	all := []engine.Container{}
	err := s.call(ctx, "List", "", func() *engine.Error {
		for _, c := range s.containers {
			if c.Installation == installation {
				all = append(all, engine.Container{
					Health: listedHealth(c.Health),
					ID:     c.ID, Name: c.Name, Installation: c.Installation, Game: c.Game, UID: c.UID, Operation: c.Operation, SpecHash: c.SpecHash,
					Generation: c.Generation, State: c.State, Image: c.Image, ImageID: c.ImageID, CreatedAt: c.CreatedAt,
				})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Inspect returns everything.
func (s *Sim) Inspect(ctx context.Context, idOrName string) (found engine.Container, err error) {
	err = s.call(ctx, "Inspect", idOrName, func() *engine.Error {
		c, failure := s.find(idOrName)
		if failure == nil {
			found = c.Container
		}
		return failure
	})
	return found, err
}

// InspectImage returns an image that is on the engine.
func (s *Sim) InspectImage(ctx context.Context, ref string) (found engine.Image, err error) {
	err = s.call(ctx, "InspectImage", ref, func() *engine.Error {
		var there bool
		if found, there = s.image(ref); !there {
			return failure(engine.NotFound, "no such image: %s", ref)
		}
		return nil
	})
	return found, err
}

// image finds one by its name or its id.
func (s *Sim) image(ref string) (engine.Image, bool) {
	if image, there := s.images[ref]; there {
		return image, true
	}
	for _, image := range s.images {
		if image.ID == ref {
			return image, true
		}
	}
	return engine.Image{}, false
}

// Images returns every image, in no order.
func (s *Sim) Images(ctx context.Context) (all []engine.Image, err error) {
	err = s.call(ctx, "Images", "", func() *engine.Error {
		all = append([]engine.Image{}, s.untagged...)
		for _, image := range s.images {
			all = append(all, image)
		}
		for i, image := range all {
			all[i] = engine.Image{ID: image.ID, Tags: image.Tags, RepoDigests: image.RepoDigests}
		}
		return nil
	})
	return all, err
}

// EnsureNetwork makes a network if it is missing.
func (s *Sim) EnsureNetwork(ctx context.Context, name, _ string) error {
	return s.call(ctx, "EnsureNetwork", name, func() *engine.Error {
		s.networks[name] = true
		return nil
	})
}

// JoinNetwork has nobody to connect: this process is in no simulated container.
func (s *Sim) JoinNetwork(ctx context.Context, name string) error {
	return s.call(ctx, "JoinNetwork", name, func() *engine.Error { return nil })
}

// imageSize is what a pull of an image moves, in bytes.
const imageSize = 1 << 20

// PullImage fetches what Publish put there last.
func (s *Sim) PullImage(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	return s.call(ctx, "PullImage", ref, func() *engine.Error {
		published := s.registry[ref]
		if published == 0 {
			return failure(engine.PullFailed, "manifest for %s not found", ref)
		}
		if progress != nil {
			progress(engine.PullProgress{Total: imageSize})
			progress(engine.PullProgress{Done: imageSize, Total: imageSize})
		}
		image := gameImage(ref, published)
		image.RepoDigests = []string{repoDigest(ref, published)}
		s.tag(ref, image)
		return nil
	})
}

// TagByHand lets a tag name an image that was built here.
func (s *Sim) TagByHand(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.built++
	s.tag(ref, gameImage(ref, -s.built))
}

func (s *Sim) tag(ref string, image engine.Image) {
	if before, there := s.images[ref]; there && before.ID != image.ID {
		before.Tags = nil
		s.untagged = append(s.untagged, before)
	}
	s.images[ref] = image
}

// Create makes a container.
func (s *Sim) Create(ctx context.Context, spec engine.ContainerSpec) (id string, err error) {
	err = s.call(ctx, "Create", spec.Name, func() *engine.Error {
		if failure := s.refuse(spec); failure != nil {
			return failure
		}
		s.created++
		c := &simContainer{spec: spec, Container: engine.Container{
			ID: fmt.Sprintf("%064x", s.created), Name: spec.Name, State: engine.StateCreated, Image: spec.Image, ImageID: s.images[spec.Image].ID,
			Installation: spec.Labels[v1alpha1.LabelInstallation], UID: spec.Labels[v1alpha1.LabelUID], SpecHash: spec.Labels[v1alpha1.LabelSpecHash],
			Operation: spec.Labels[v1alpha1.LabelOperation],
			Game:      engine.GameID{Namespace: spec.Labels[v1alpha1.LabelNamespace], Name: spec.Labels[v1alpha1.LabelGame]},
			CreatedAt: s.now(), Resources: spec.Resources, Made: made(spec), Inspected: true,
		}}
		c.Generation, _ = strconv.ParseInt(spec.Labels[v1alpha1.LabelGeneration], 10, 64) // 0 is no generation
		s.containers[c.ID], s.names[c.Name] = c, c
		s.publish(c, "create")
		id = c.ID
		return nil
	})
	return id, err
}

// leastMemory is what Docker takes for too little.
const leastMemory = 6 << 20

// refuse is what an engine has against a specification.
func (s *Sim) refuse(spec engine.ContainerSpec) *engine.Error {
	switch {
	case spec.Name == "" || spec.Image == "" || spec.Network == "":
		return failure(engine.Invalid, "a container needs a name, an image and a network")
	case spec.Resources.MemoryBytes > 0 && spec.Resources.MemoryBytes < leastMemory:
		return failure(engine.Invalid, "a container needs 6 MiB of memory or more")
	case s.images[spec.Image].ID == "":
		return failure(engine.NotFound, "no such image: %s", spec.Image)
	}
	if holder := s.names[spec.Name]; holder != nil {
		return failure(engine.NameConflict, "the name %s is in use by container %s", spec.Name, holder.ID)
	}
	return stateLost(spec)
}

// Rename gives a container another name.
func (s *Sim) Rename(ctx context.Context, id, name string) error {
	return s.call(ctx, "Rename", id, func() *engine.Error {
		c, missing := s.find(id)
		if missing != nil {
			return missing
		}
		if holder := s.names[name]; holder != nil && holder != c {
			return failure(engine.NameConflict, "the name %s is in use by container %s", name, holder.ID)
		}
		delete(s.names, c.Name)
		c.Name, s.names[name] = name, c
		c.remake(func(made *engine.ContainerSpec) { made.Name = name })
		s.publish(c, "rename")
		return nil
	})
}

// UpdateResources changes the limits.
func (s *Sim) UpdateResources(ctx context.Context, id string, resources engine.Resources) error {
	return s.call(ctx, "UpdateResources", id, func() *engine.Error {
		c, failure := s.find(id)
		if failure == nil {
			c.Resources = resources
			c.remake(func(made *engine.ContainerSpec) { made.Resources = resources })
			s.publish(c, "update")
		}
		return failure
	})
}

// Running returns the ids of a game's running containers, by which a test sees
// that there is one at most.
func (s *Sim) Running(game engine.GameID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, c := range s.containers {
		if c.Game == game && c.State == engine.StateRunning {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *Sim) find(idOrName string) (*simContainer, *engine.Error) {
	if c := s.containers[idOrName]; c != nil {
		return c, nil
	}
	if c := s.names[idOrName]; c != nil {
		return c, nil
	}
	return nil, failure(engine.NotFound, "no such container: %s", idOrName)
}

// gameImage is the test game's, as a tag named it at its nth publication.
func gameImage(ref string, published int) engine.Image {
	return engine.Image{
		ID: fmt.Sprintf("sha256:%s#%d", ref, published), Tags: []string{ref}, User: GameUser, Entrypoint: []string{GamePath},
	}
}

func repoDigest(ref string, published int) string {
	name := ref
	if at := strings.LastIndex(ref, ":"); at > strings.LastIndex(ref, "/") {
		name = ref[:at]
	}
	return fmt.Sprintf("%s@sha256:%064x", name, published)
}

// now is wall-clock time alone: an engine's times come over a wire.
func (s *Sim) now() time.Time { return time.Now().UTC().Round(0).Add(s.ahead) }
