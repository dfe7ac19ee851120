//go:build integration

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

func newFixture(t *testing.T, game string) enginetest.Fixture {
	t.Helper()
	away, err := New(Options{Host: "unix://" + filepath.Join(t.TempDir(), "nobody.sock")})
	require.NoError(t, err)
	t.Cleanup(func() { _ = away.Close() })
	c, installation := newClient(t), "test-"+unique()
	t.Cleanup(func() { sweep(t, c, installation) })
	return enginetest.Fixture{Engine: c, Away: away, Installation: installation, Image: game, Listens: listens}
}

func unique() string { return strings.ToLower(rand.Text()[:12]) }

func newClient(t *testing.T) *Client {
	t.Helper()
	c, err := New(Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func listens(c engine.Container) bool {
	return answers(net.JoinHostPort(c.IP, strconv.Itoa(enginetest.GamePort)))
}

func answers(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	return err == nil && conn.Close() == nil
}

// sweep removes what an installation has on the engine, and nothing else.
func sweep(t *testing.T, c *Client, installation string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	containers, err := c.List(ctx, installation)
	require.NoError(t, err)
	for _, left := range containers {
		require.NoError(t, c.Remove(ctx, left.ID))
	}
	networks, err := c.sdk.NetworkList(ctx, network.ListOptions{Filters: ours(installation)})
	require.NoError(t, err)
	for _, left := range networks {
		require.NoError(t, c.sdk.NetworkRemove(ctx, left.ID))
	}
}

// buildGame makes the test game's image.
func buildGame(t *testing.T, changes ...string) (ref string) {
	t.Helper()
	return buildImage(t, "../enginetest/testdata/game", append(changes, "USER "+enginetest.GameUser)...)
}

// buildImage makes a program's image from nothing: no registry, no base. No two
// have a layer in common. Changes are lines of a Dockerfile.
func buildImage(t *testing.T, source string, changes ...string) (ref string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	binary, err := os.ReadFile(program)
	require.NoError(t, err)

	var root bytes.Buffer
	archive := tar.NewWriter(&root)
	require.NoError(t, archive.WriteHeader(&tar.Header{Name: enginetest.GamePath, Mode: 0o755, Size: int64(len(binary)), ModTime: time.Now(), Format: tar.FormatPAX}))
	_, err = archive.Write(binary)
	require.NoError(t, err)
	require.NoError(t, archive.Close())

	c, ref := newClient(t), "galaxy-enginetest-"+unique()+":1.0.0"
	progress, err := c.sdk.ImageImport(t.Context(), image.ImportSource{Source: &root, SourceName: "-"}, ref, image.ImportOptions{
		Changes: append(changes, `ENTRYPOINT ["`+enginetest.GamePath+`"]`),
	})
	require.NoError(t, err)
	defer progress.Close()
	t.Cleanup(func() {
		_, err := c.sdk.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true})
		require.NoError(t, err)
	})
	for decoder := json.NewDecoder(progress); ; {
		var line struct{ Error string }
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			return ref
		}
		require.NoError(t, err)
		require.Empty(t, line.Error)
	}
}

// checked is the health check of an image, quick for a test.
const checked = `HEALTHCHECK --interval=100ms --timeout=10s --retries=2 CMD ["` + enginetest.GamePath + `","` + enginetest.Check + `"]`

// chess is the least of a container; a test adds what it is about.
func chess(f enginetest.Fixture, args ...string) engine.ContainerSpec {
	return engine.ContainerSpec{
		Name: "chess.arena." + f.Installation, Image: f.Image, Args: args,
		Labels:  map[string]string{v1alpha1.LabelInstallation: f.Installation},
		Network: "galaxy." + f.Installation, Alias: "chess.arena",
	}
}

func create(t *testing.T, f enginetest.Fixture, spec engine.ContainerSpec) (id string) {
	t.Helper()
	require.NoError(t, f.Engine.EnsureNetwork(t.Context(), spec.Network, f.Installation))
	id, err := f.Engine.Create(t.Context(), spec)
	require.NoError(t, err)
	return id
}

func run(t *testing.T, f enginetest.Fixture, spec engine.ContainerSpec) (id string) {
	t.Helper()
	id = create(t, f, spec)
	require.NoError(t, f.Engine.Start(t.Context(), id))
	return id
}
