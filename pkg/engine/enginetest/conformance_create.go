package enginetest

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// nowhere is an image in a registry that does not answer.
const nowhere = "127.0.0.1:1/galaxy/nothing:1.0.0"

func testInfo(t *testing.T, f Fixture) {
	first, err := f.Engine.Info(within(t, patience))
	require.NoError(t, err)
	require.NotEmpty(t, first.ID)
	require.NotEmpty(t, first.Name)
	require.NotEmpty(t, first.Version)
	again, err := f.Engine.Info(within(t, patience))
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func testCreate(t *testing.T, f Fixture) {
	require.Empty(t, f.list(t))
	spec := f.spec("chess")
	before := time.Now()
	id := f.create(t, spec)

	c := f.inspect(t, id)
	require.WithinRange(t, c.CreatedAt, before.Add(-time.Minute), time.Now().Add(time.Minute))
	require.NotEmpty(t, c.ImageID)
	want := engine.Container{
		ID: id, Name: spec.Name, Installation: f.Installation, Game: engine.GameID{Namespace: "arena", Name: "chess"},
		UID: "uid-of-chess", Operation: "operation-of-chess", SpecHash: "0123456789abcdef", Generation: 7, State: engine.StateCreated, Image: f.Image,
		ImageID: c.ImageID, CreatedAt: c.CreatedAt, Resources: spec.Resources, Made: c.Made, Inspected: true,
	}
	require.Equal(t, want, c)
	require.Equal(t, c, f.inspect(t, spec.Name), "by name as by id")

	listed := f.list(t)
	require.Len(t, listed, 1)
	require.WithinDuration(t, c.CreatedAt, listed[0].CreatedAt, time.Second, "a list may round")
	want.CreatedAt, want.Inspected, want.Resources, want.Made = listed[0].CreatedAt, false, engine.Resources{}, nil
	require.Equal(t, want, listed[0])
}

func testNameConflict(t *testing.T, f Fixture) {
	id := f.create(t, f.spec("chess"))
	_, err := f.Engine.Create(within(t, patience), f.spec("chess"))
	requireKind(t, engine.NameConflict, err)
	require.Len(t, f.list(t), 1)

	f.remove(t, id)
	f.create(t, f.spec("chess"))
}

func testRefusals(t *testing.T, f Fixture) {
	cases := map[string]struct {
		change func(*engine.ContainerSpec)
		kind   engine.Kind
	}{
		"no name":           {func(s *engine.ContainerSpec) { s.Name = "" }, engine.Invalid},
		"no image":          {func(s *engine.ContainerSpec) { s.Image = "" }, engine.Invalid},
		"no network":        {func(s *engine.ContainerSpec) { s.Network = "" }, engine.Invalid},
		"too little memory": {func(s *engine.ContainerSpec) { s.Resources.MemoryBytes = 1 << 20 }, engine.Invalid},
		"image not there":   {func(s *engine.ContainerSpec) { s.Image = nowhere }, engine.NotFound},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			spec := f.spec("chess")
			c.change(&spec)
			_, err := f.Engine.Create(within(t, patience), spec)
			requireKind(t, c.kind, err)
			require.Empty(t, f.list(t))
		})
	}
}

func testImages(t *testing.T, f Fixture) {
	image, err := f.Engine.InspectImage(within(t, patience), f.Image)
	require.NoError(t, err)
	require.Equal(t, GameUser, image.User)
	require.Equal(t, []string{GamePath}, image.Entrypoint)
	require.Empty(t, image.Args)
	require.Empty(t, image.WorkingDir)
	require.Contains(t, image.Tags, f.Image)
	require.Empty(t, image.RepoDigests, "it never was in a registry")
	require.Equal(t, image.ID, f.inspect(t, f.create(t, f.spec("chess"))).ImageID)
	byID, err := f.Engine.InspectImage(within(t, patience), image.ID)
	require.NoError(t, err)
	require.Equal(t, image, byID)

	listed := engine.Image{ID: image.ID, Tags: image.Tags, RepoDigests: image.RepoDigests}
	require.Contains(t, f.images(t), listed, "a list tells the names")

	_, err = f.Engine.InspectImage(within(t, patience), nowhere)
	requireKind(t, engine.NotFound, err)
}

func testPull(t *testing.T, f Fixture) {
	requireKind(t, engine.PullFailed, f.Engine.PullImage(within(t, patience), nowhere, nil))

	var told []engine.PullProgress
	hear := func(p engine.PullProgress) { told = append(told, p) }
	require.NoError(t, f.Engine.PullImage(within(t, patience), f.Published, hear))
	last := told[len(told)-1]
	require.Equal(t, last.Total, last.Done)
	require.GreaterOrEqual(t, last.Done, int64(64<<10))
	for _, p := range told {
		require.LessOrEqual(t, p.Done, p.Total)
	}

	image, err := f.Engine.InspectImage(within(t, patience), f.Published)
	require.NoError(t, err)
	require.Contains(t, image.Tags, f.Published)
	require.Len(t, image.RepoDigests, 1)
	name, _, _ := strings.Cut(f.Published, ":1.0.0")
	require.Regexp(t, "^"+regexp.QuoteMeta(name)+"@sha256:[0-9a-f]{64}$", image.RepoDigests[0])
	listed := engine.Image{ID: image.ID, Tags: image.Tags, RepoDigests: image.RepoDigests}
	require.Contains(t, f.images(t), listed)

	require.NoError(t, f.Engine.PullImage(within(t, patience), f.Published, nil), "what is there is pulled again")
}

func (f Fixture) images(t *testing.T) []engine.Image {
	t.Helper()
	images, err := f.Engine.Images(within(t, patience))
	require.NoError(t, err)
	return images
}

func testIsolation(t *testing.T, f Fixture) {
	heard := f.follow(t, time.Time{})
	foreign := f.spec("chess")
	foreign.Name += "-foreign"
	foreign.Labels[v1alpha1.LabelInstallation] = f.Installation + "-foreign"
	id := f.create(t, foreign)
	t.Cleanup(func() { f.remove(t, id) })
	own := f.create(t, f.spec("go"))

	listed := f.list(t)
	require.Len(t, listed, 1)
	require.Equal(t, own, listed[0].ID)
	require.Equal(t, own, heard.next(t).ContainerID, "an event of a container that is not ours")
	require.Equal(t, f.Installation+"-foreign", f.inspect(t, id).Installation)
}

func testUpdateResources(t *testing.T, f Fixture) {
	id := f.run(t, f.spec("chess"))
	before := f.inspect(t, id)
	more := engine.Resources{NanoCPUs: 250_000_000, MemoryBytes: 96 << 20, Pids: 32}
	require.NoError(t, f.Engine.UpdateResources(within(t, patience), id, more))

	after := f.inspect(t, id)
	require.Equal(t, more, after.Resources)
	require.Equal(t, before.StartedAt, after.StartedAt, "it was restarted")
	require.Equal(t, engine.StateRunning, after.State)
}
