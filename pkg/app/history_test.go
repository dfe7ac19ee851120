//go:build integration

package app

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/rtctl"
)

// rtctl runs the command as the administrator, in this process.
func (m *manager) rtctl(args ...string) (string, error) {
	m.t.Helper()
	var out bytes.Buffer
	command := rtctl.Command(genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &out}, "v0.0.0-test")
	command.SetArgs(append(args, "--kubeconfig", m.kubeconfig))
	err := command.Execute()
	return out.String(), err
}

// awaitHistory waits until a game's history has these lines in this order, be there
// others between them.
func (m *manager) awaitHistory(name string, lines ...string) {
	m.t.Helper()
	require.EventuallyWithT(m.t, func(c *assert.CollectT) {
		out, err := m.rtctl("history", name)
		require.NoError(c, err)
		missing := lines
		for line := range strings.Lines(out) {
			if told := strings.Join(strings.Fields(line), " "); len(missing) > 0 && strings.Contains(told, missing[0]) {
				missing = missing[1:]
			}
		}
		assert.Empty(c, missing, "is not in\n%s", out)
	}, patience, 50*time.Millisecond)
}

// One game's story is told in the order in which it happened, by who asked, and
// after its record is gone.
func TestHistoryIsTold(t *testing.T) {
	m := startManager(t, nil)
	_, err := m.rtctl("history", "storied")
	require.EqualError(t, err, "default/storied: there is no such game, and no history of one: rtctl get gr -A lists all games")

	m.create(game("storied"))
	g := m.awaitReady("storied")
	dockerCLI(t, "kill", g.Status.Container.ID)
	m.await("storied", "a restart", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Restarts == 1 })
	m.update("storied", func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	m.await("storied", "Stopped", func(g *v1alpha1.GameRuntime) bool { return g.Status.Phase == v1alpha1.PhaseStopped })
	require.NoError(t, m.Delete(t.Context(), m.read("storied")))
	m.awaitGone("storied")

	m.awaitHistory("storied",
		"create Succeeded", "start Succeeded", "container_started", "container_exited - - - StoppedByHand:",
		"start Succeeded", "container_started", "stop Succeeded", "container_exited - - - StoppedByUs:", "remove Succeeded")
}
