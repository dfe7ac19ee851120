//go:build integration

package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

const foreseen = `
apiVersion: runtime.galaxy.io/v1alpha1
kind: GameRuntime
metadata: {name: foreseen}
spec:
  image: galaxy/demo-game:1.0.0
  ports: [{name: http, containerPort: 8080, hostPort: 0}]
  resources: {cpu: 500m, memory: 64Mi}
  stopGracePeriodSeconds: 5
`

// edited is that record in a file, with a change in it.
func edited(t *testing.T, from, to string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.yaml")
	require.Contains(t, foreseen, from)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(foreseen, from, to, 1)), 0o600))
	return path
}

// yaml is a game's record as it is read.
func (m *manager) yaml(name string) string {
	m.t.Helper()
	out, err := m.rtctl("get", "gr", name, "-o", "yaml")
	require.NoError(m.t, err, out)
	return out
}

// What operators ask beside kubectl, of a manager and an engine that are real.
func TestOperatorsVerbs(t *testing.T) {
	m := startManager(t, nil)
	same := edited(t, "", "")
	out, err := m.rtctl("plan", "-f", same)
	require.Error(t, err, "1 is that there is something to do")
	require.Contains(t, out, "default/foreseen: creates and starts the game\n")
	out, err = m.rtctl("apply", "-f", same)
	require.NoError(t, err, out)
	g := m.awaitReady("foreseen")
	first := g.Status.Container

	t.Run("plan", func(t *testing.T) {
		for change, want := range map[[2]string]string{
			{"", ""}:             `^default/foreseen: in sync, nothing to do\n$`,
			{"64Mi", "96Mi"}:     `^default/foreseen: changes the container in place, without a restart\n  ~ resources.memory   64Mi → 96Mi +update the container in place\n  1. update resources of container \w{12}\n$`,
			{"1.0.0", "1.0.1"}:   `^default/foreseen: RESTARTS the game\n  ~ image .*1.0.0 → galaxy/demo-game:1.0.1 +recreate the container\n  1. stop container \w{12}: its specification changed\n  2. rename container .*\n  3. create container .*\n  4. start container\n  5. remove container .*\n$`,
			{"1.0.0", "1.0.987"}: `^default/foreseen: RESTARTS the game\n.*\n  1. pull image galaxy/demo-game:1.0.987\n`,
		} {
			out, err := m.rtctl("plan", "-f", edited(t, change[0], change[1]))
			require.Regexp(t, want, out)
			require.Equal(t, change[0] == "", err == nil)
		}
		require.Equal(t, g.Status.Container, m.read("foreseen").Status.Container, "nothing was done")
		require.Equal(t, []string{first.ID}, m.containers("foreseen"))
	})
	t.Run("as it was foretold", func(t *testing.T) {
		out, err := m.rtctl("apply", "-f", edited(t, "64Mi", "96Mi"))
		require.NoError(t, err, out)
		m.eventually("the container has its memory", func() bool {
			return dockerCLI(t, "inspect", "-f", "{{.HostConfig.Memory}}", first.ID) == "100663296"
		})
		m.awaitReady("foreseen")
		require.Equal(t, first.StartedAt, m.read("foreseen").Status.Container.StartedAt, "without a restart")
	})
	t.Run("restart", func(t *testing.T) {
		out, err := m.rtctl("restart", "foreseen")
		require.NoError(t, err, out)
		g := m.read("foreseen")
		require.NotEqual(t, first.ID, g.Status.Container.ID)
		require.Regexp(t, `galaxy-rtctl`, g.ManagedFields)
		require.Contains(t, out, "foreseen: Stopping, ")
		require.Regexp(t, `foreseen: restarted in \S+ \(operation `+g.Status.Container.StartedBy+`\)\n$`, out)
	})
	t.Run("stop and start", func(t *testing.T) {
		out, err := m.rtctl("stop", "foreseen")
		require.NoError(t, err, out)
		require.Equal(t, v1alpha1.ContainerStopped, m.read("foreseen").Status.Container.State)
		out, err = m.rtctl("start", "foreseen", "another", "--image", demoImage)
		require.NoError(t, err, out)
		require.Regexp(t, `(?m)^another: started in `, out)
		require.Regexp(t, `(?m)^foreseen: started in `, out)
		out, err = m.rtctl("start", "wrong", "--image", "127.0.0.1:9/galaxy/no-such:1.0.0")
		require.Error(t, err)
		require.Regexp(t, `wrong: not started within \S+: image_pull_failed: pull image 127.0.0.1:9/galaxy/no-such:1.0.0: `, out)
		require.NoError(t, m.Delete(t.Context(), m.read("wrong")))
	})
	t.Run("drift", func(t *testing.T) {
		g := m.awaitReady("foreseen")
		m.update("foreseen", func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftObserve })
		dockerCLI(t, "update", "--memory", "48m", "--memory-swap", "48m", g.Status.Container.ID)
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			out, err := m.rtctl("drift", "foreseen")
			assert.Error(c, err)
			assert.Regexp(c, `^default/foreseen\n  resources.memory: SpecMismatch for \d+s, mended by: update the container in place\n  - 48Mi\n  \+ 96Mi\n1 of 1 game differ.\n$`, out)
		}, patience, 50*time.Millisecond)
		out, err := m.rtctl("plan", "foreseen")
		require.Error(t, err)
		require.Contains(t, out, "changes the container in place, without a restart, but waits first: DriftObserved\n")
		m.update("foreseen", func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftEnforce })
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			out, err := m.rtctl("drift", "foreseen")
			assert.NoError(c, err)
			assert.Equal(c, "default/foreseen is in sync.\n", out)
		}, patience, 50*time.Millisecond)
	})
	t.Run("status", func(t *testing.T) {
		out, err := m.rtctl("status")
		require.NoError(t, err, out)
		for _, line := range []string{`postgres +ok`, `engine +ok`, `Leader +\S+, since .*, renewed \d+s ago`, `Games +2, `, `The manager is ready.`} {
			require.Regexp(t, line, out)
		}
	})
}
