package mirror

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

const chessImage = "registry.example/galaxy/chess:1.0.0"

// runs sets a container of chess that was made from an image by that reference.
func (f *fakeReader) runs(ref, id string) {
	f.set("c1", engine.StateRunning, func(c *engine.Container) { c.Image, c.ImageID = ref, id })
}

func TestFirstSightKnowsTheImages(t *testing.T) {
	f := newFake()
	f.runs(chessImage, "old")
	f.setImages(
		engine.Image{ID: "old", RepoDigests: []string{"mirror.example/chess@sha256:" + digest, "registry.example/galaxy/chess@sha256:" + digest}},
		engine.Image{ID: "new", Tags: []string{chessImage, "galaxy/chess:1.0.0"}},
	)
	m := startSeen(t, f, nil)
	require.Equal(t, "registry.example/galaxy/chess@sha256:"+digest, m.find("c1").RepoDigest, "the one of its own reference")
	for ref, want := range map[string]string{
		chessImage: "new", "galaxy/chess:1.0.0": "new", "docker.io/galaxy/chess:1.0.0": "new",
		"galaxy/chess:2.0.0": "", "galaxy/chess": "", "no reference!": "", "": "",
		"registry.example/galaxy/chess@sha256:" + digest: "", chessImage + "@sha256:" + digest: "",
	} {
		require.Equal(t, want, m.ImageNow(ref), ref)
	}
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestATagThatMovesIsNoticed(t *testing.T) {
	f := newFake()
	f.runs(chessImage, "old")
	f.setImages(engine.Image{ID: "old", Tags: []string{chessImage}})
	woken := make(chan engine.GameID, 100)
	m := startSeen(t, f, func(o *Options) {
		o.Resync = 10 * time.Millisecond
		o.OnChange = func(game engine.GameID) { woken <- game }
	})
	require.Equal(t, "old", m.ImageNow(chessImage))
	for len(woken) > 0 {
		<-woken
	}
	f.setImages(engine.Image{ID: "old"}, engine.Image{ID: "new", Tags: []string{chessImage}})
	require.Equal(t, chess, awaitOne(t, "its game", woken))
	require.Equal(t, "new", m.ImageNow(chessImage))
	f.setImages(engine.Image{ID: "old"})
	eventually(t, "a tag that is gone is not known", func() bool { return m.ImageNow(chessImage) == "" })
	for len(woken) > 0 {
		<-woken
	}
	f.setImages(engine.Image{ID: "old"}, engine.Image{ID: "newest", Tags: []string{chessImage}})
	require.Equal(t, chess, awaitOne(t, "its game", woken), "it may have been gone meanwhile")
}

func TestALookUpIsKept(t *testing.T) {
	f := newFake()
	f.runs(chessImage, "old")
	m := startSeen(t, f, nil) // the next list is minutes away
	f.setImages(engine.Image{ID: "new", Tags: []string{chessImage}, User: "1000", RepoDigests: []string{"registry.example/galaxy/chess@sha256:" + digest}})
	found, err := m.LookUpImage(t.Context(), chessImage)
	require.NoError(t, err)
	require.Equal(t, "1000", found.User)
	require.Equal(t, "new", m.ImageNow(chessImage))
	f.runs(chessImage, "new")
	require.NoError(t, m.Refresh(t.Context(), "c1"))
	require.NotEmpty(t, m.find("c1").RepoDigest, "known before the container was")

	f.setImages()
	_, err = m.LookUpImage(t.Context(), chessImage)
	require.Equal(t, engine.NotFound, engine.KindOf(err))
	require.Empty(t, m.ImageNow(chessImage))
}

// A list that was asked for before a look-up knows less.
func TestAnOldListOfImagesChangesNothing(t *testing.T) {
	f := newFake()
	f.setImages(engine.Image{ID: "old", Tags: []string{chessImage}})
	m := startSeen(t, f, func(o *Options) { o.Resync = 10 * time.Millisecond })
	release := f.hang(theImages)
	awaitOne(t, "a list", f.held)
	f.setImages(engine.Image{ID: "new", Tags: []string{chessImage}})
	_, err := m.LookUpImage(t.Context(), chessImage)
	require.NoError(t, err)
	release()
	lists := count(m.metrics.lists)
	eventually(t, "two lists", func() bool {
		require.Equal(t, "new", m.ImageNow(chessImage))
		return count(m.metrics.lists) > lists+1
	})
}

// Where nothing happens, images cost one call a resync and none more.
func TestImagesCostOneCallAResync(t *testing.T) {
	sim := enginetest.NewSim(chessImage)
	m := startSeen(t, sim, func(o *Options) { o.Resync = 5 * time.Millisecond })
	eventually(t, "some lists", func() bool { return sim.Calls("List") > 5 })
	require.InDelta(t, sim.Calls("List"), sim.Calls("Images"), 1)
	require.Zero(t, sim.Calls("InspectImage"))
	require.NotEmpty(t, m.ImageNow(chessImage))

	sim.Inject(enginetest.Fault{Verb: "Images", Kind: engine.Failed})
	lists := sim.Calls("List")
	eventually(t, "more lists", func() bool { return sim.Calls("List") > lists+3 })
	require.True(t, m.Fleet().Reachable, "an engine that lists containers is there")
	require.NotEmpty(t, m.ImageNow(chessImage), "what is known stays")
}
