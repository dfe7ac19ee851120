//go:build integration

package docker

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// A manager in a container of the engine's own comes to its games' network by
// itself, and takes nobody else there.
func TestFromInsideAContainer(t *testing.T) {
	f := newFixture(t, buildGame(t))
	spec, inside := chess(f), buildImage(t, "testdata/inside")
	game, err := f.Engine.Inspect(t.Context(), run(t, f, spec))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return listens(game) }, time.Minute, 10*time.Millisecond)
	address := net.JoinHostPort(game.IP, strconv.Itoa(enginetest.GamePort))
	join := []string{"join", spec.Network, address}

	t.Run("reaches a game", func(t *testing.T) {
		id := beside(t, f, inside, "bridge", join...)
		require.Zero(t, exitCode(t, f, id))
		require.Equal(t, []string{"bridge", spec.Network}, networksOf(t, f, id))

		require.NoError(t, f.Engine.Start(t.Context(), id))
		require.Zero(t, exitCode(t, f, id), "once it is there, too")
	})
	t.Run("makes the network", func(t *testing.T) {
		id := beside(t, f, inside, "bridge", "ensure", spec.Network+".2", f.Installation)
		require.Zero(t, exitCode(t, f, id))
		require.Equal(t, []string{"bridge", spec.Network + ".2"}, networksOf(t, f, id))
	})
	t.Run("is on the host's network", func(t *testing.T) {
		id := beside(t, f, inside, "host", join...)
		require.Zero(t, exitCode(t, f, id))
		require.Equal(t, []string{"host"}, networksOf(t, f, id))
	})
	t.Run("uses somebody else's network", func(t *testing.T) {
		owner := beside(t, f, f.Image, "bridge", enginetest.Serve)
		found, err := f.Engine.Inspect(t.Context(), owner)
		require.NoError(t, err)
		for _, name := range []string{owner, found.Name} {
			id := beside(t, f, inside, container.NetworkMode("container:"+name), join...)
			require.EqualValues(t, 1, exitCode(t, f, id), "the game is not reached from there")
			require.Equal(t, []string{"bridge"}, networksOf(t, f, owner))
		}
	})
}

// beside runs a container that no specification could ask for: it has the
// engine's socket. It returns its id.
func beside(t *testing.T, f enginetest.Fixture, image string, mode container.NetworkMode, args ...string) string {
	t.Helper()
	made, err := f.Engine.(*Client).sdk.ContainerCreate(t.Context(),
		&container.Config{Image: image, Cmd: args, User: "0:0", Labels: map[string]string{v1alpha1.LabelInstallation: f.Installation}},
		&container.HostConfig{NetworkMode: mode, Binds: []string{"/var/run/docker.sock:/var/run/docker.sock"}},
		nil, nil, "beside-"+unique())
	require.NoError(t, err)
	require.NoError(t, f.Engine.Start(t.Context(), made.ID))
	return made.ID
}

func exitCode(t *testing.T, f enginetest.Fixture, id string) (code int32) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := f.Engine.Inspect(t.Context(), id)
		if err != nil || c.Exit == nil {
			return false
		}
		code = c.Exit.Code
		return true
	}, time.Minute, 10*time.Millisecond)
	if code != 0 {
		said, err := f.Engine.Logs(t.Context(), id, 10)
		t.Log(said, err)
	}
	return code
}

// networksOf are the networks that a container is on, in order.
func networksOf(t *testing.T, f enginetest.Fixture, id string) []string {
	t.Helper()
	found, err := f.Engine.(*Client).sdk.ContainerInspect(t.Context(), id)
	require.NoError(t, err)
	return slices.Sorted(maps.Keys(found.NetworkSettings.Networks))
}
