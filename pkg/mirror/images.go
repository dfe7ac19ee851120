package mirror

import (
	"context"
	"strings"

	"github.com/distribution/reference"

	"galaxy.io/runtime-manager/pkg/engine"
)

// images is what the engine told of its images. Every list of the containers
// brings one of the images along, and whoever needs one image looks it up here:
// no image is asked about for the picture's own sake. As with containers, an
// answer changes nothing that the answer to a later question told.
type images struct {
	byID  map[string]known[engine.Image]
	named map[string]known[string] // ids, by name: as the engine writes it, and in full
	asked uint64
}

// known is a fact and the question that it is the answer to.
type known[T any] struct {
	fact  T
	asked uint64
}

func newImages() images {
	return images{byID: map[string]known[engine.Image]{}, named: map[string]known[string]{}}
}

// put enters an image, and adds the names that are not known to be its own yet
// to those that moved.
func (i *images) put(image engine.Image, asked uint64, moved map[string]bool) {
	if i.byID[image.ID].asked <= asked {
		i.byID[image.ID] = known[engine.Image]{image, asked}
	}
	for _, tag := range image.Tags {
		for _, name := range []string{tag, fullName(tag)} {
			before := i.named[name]
			if before.asked > asked {
				continue
			}
			if before.fact != image.ID {
				moved[name] = true
			}
			i.named[name] = known[string]{image.ID, asked}
		}
	}
}

// now is the id of the image that a reference names. Most are written as the
// engine does, and cost no parsing.
func (i *images) now(ref string) string { return i.named[i.name(ref)].fact }

// name is a reference as the names are kept.
func (i *images) name(ref string) string {
	if _, ok := i.named[ref]; ok {
		return ref
	}
	return fullName(ref)
}

// remove takes a reference out that names no image, unless a later answer put
// it there.
func (i *images) remove(ref string, asked uint64) {
	for _, name := range []string{ref, fullName(ref)} {
		if i.named[name].asked < asked {
			delete(i.named, name)
		}
	}
}

// keep drops what a question to which these are all images did not bring.
func (i *images) keep(asked uint64) {
	for id, image := range i.byID {
		if image.asked < asked {
			delete(i.byID, id)
		}
	}
	for name, id := range i.named {
		if id.asked < asked {
			delete(i.named, name)
		}
	}
}

// digest is what the image of a container is called in a registry, the one of
// the container's own reference if there are several.
func (i *images) digest(c engine.Container) string {
	digests := i.byID[c.ImageID].fact.RepoDigests
	if len(digests) == 0 {
		return ""
	}
	if len(digests) > 1 {
		for _, digest := range digests {
			if repository(digest) == repository(c.Image) {
				return digest
			}
		}
	}
	return digests[0]
}

// fullName is a reference with what it leaves out; "" for one by digest, which
// never names another image, and for what is none.
func fullName(ref string) string {
	named, err := reference.ParseDockerRef(ref)
	if err != nil || strings.Contains(ref, "@") {
		return ""
	}
	return named.String()
}

func repository(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	return named.Name()
}

// ImageNow returns the id of the image that a reference names on the engine now;
// empty if that is not known, or if it is a reference by digest.
func (m *Mirror) ImageNow(ref string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.images.now(ref)
}

// LookUpImage asks for one image, and brings the answer into the picture.
func (m *Mirror) LookUpImage(ctx context.Context, ref string) (engine.Image, error) {
	asked := m.askImages()
	found, err := m.options.Reader.InspectImage(ctx, ref)
	if err == nil {
		m.tellImages([]engine.Image{found}, func(*images) {}, asked)
	} else if engine.KindOf(err) == engine.NotFound {
		m.tellImages(nil, func(i *images) { i.remove(ref, asked) }, asked)
	}
	return found, err
}

// listImages asks for all images. A failure leaves what is known; the next list
// is never far.
func (m *Mirror) listImages(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.options.InspectTimeout)
	defer cancel()
	asked := m.askImages()
	all, err := m.options.Reader.Images(ctx)
	if err != nil {
		m.options.Log.V(1).Info("no list of images", "reason", err.Error())
		return
	}
	m.tellImages(all, func(i *images) { i.keep(asked) }, asked)
}

func (m *Mirror) askImages() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.images.asked++
	return m.images.asked
}

// tellImages brings images into the picture, and tells of each game whose
// reference names another image than before.
func (m *Mirror) tellImages(told []engine.Image, forget func(*images), asked uint64) {
	for _, game := range m.enterImages(told, forget, asked) {
		m.options.OnChange(game)
	}
}

func (m *Mirror) enterImages(told []engine.Image, forget func(*images), asked uint64) (games []engine.GameID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	moved := map[string]bool{}
	for _, image := range told {
		m.images.put(image, asked, moved)
	}
	forget(&m.images)
	if len(moved) == 0 {
		return nil
	}
	for _, e := range m.picture.entries {
		if moved[m.images.name(e.container.Image)] {
			games = append(games, e.container.Game)
		}
	}
	return games
}
