//go:build integration

package app

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/rtctl"
)

// exec runs a program in a game by rtctl, as its process does.
func (m *manager) exec(game string, command ...string) (stdout, stderr string, code int) {
	m.t.Helper()
	var out, errs bytes.Buffer
	arguments := append([]string{"rtctl", "--kubeconfig", m.kubeconfig, "exec", game, "--"}, command...)
	code = rtctl.Main(m.t.Context(), genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errs}, "v0.0.0-test", arguments)
	return out.String(), errs.String(), code
}

// followed is the log of a game as rtctl shows it while it comes.
type followed struct {
	lines *bufio.Scanner
	ended chan error
}

func (m *manager) follow(game string, args ...string) followed {
	m.t.Helper()
	heard, out := io.Pipe()
	f := followed{lines: bufio.NewScanner(heard), ended: make(chan error, 1)}
	command := rtctl.Command(genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: out, ErrOut: io.Discard}, "v0.0.0-test")
	command.SetArgs(append([]string{"logs", "-f", game, "--kubeconfig", m.kubeconfig}, args...))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	m.t.Cleanup(cancel)
	go func() {
		err := command.ExecuteContext(ctx)
		_ = out.Close()
		f.ended <- err
	}()
	return f
}

// Operators see a game's output as it comes, over its stop and its start, run a
// program in it and see what it uses, with nothing but the API.
func TestReachingIntoAGame(t *testing.T) {
	m := startManager(t, nil)
	m.create(game("spoken"))
	m.awaitReady("spoken")
	log := m.follow("spoken")
	require.True(t, log.lines.Scan())
	require.Contains(t, log.lines.Text(), "listening on")

	_, stderr, code := m.exec("spoken", "/demo-game", "check")
	require.Zero(t, code, stderr)
	_, stderr, code = m.exec("spoken", "/demo-game", "again")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "address already in use", "it is the game's own machine")
	_, _, code = m.exec("spoken", "/no/such/program")
	require.Contains(t, []int{126, 127}, code)

	top, err := m.rtctl("top", "spoken")
	require.NoError(t, err)
	row := strings.Fields(strings.Split(top, "\n")[1])
	require.Equal(t, []string{"spoken", "Running"}, row[:2])
	require.Equal(t, "64Mi", row[4], top)
	require.NotEqual(t, "-", row[3])

	m.update("spoken", func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	require.True(t, log.lines.Scan())
	require.Contains(t, log.lines.Text(), "stopped at turn")
	require.False(t, log.lines.Scan(), log.lines.Text())
	require.NoError(t, <-log.ended, "the log ends with the game")
	m.await("spoken", "Stopped", func(g *v1alpha1.GameRuntime) bool { return g.Status.Phase == v1alpha1.PhaseStopped })
	kept, err := m.rtctl("logs", "spoken")
	require.NoError(t, err)
	require.Contains(t, kept, "stopped at turn")
	_, stderr, code = m.exec("spoken", "/demo-game", "check")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "default/spoken: it does not run")
	top, err = m.rtctl("top", "spoken")
	require.NoError(t, err)
	require.Equal(t, []string{"spoken", "Stopped", "-"}, strings.Fields(strings.Split(top, "\n")[1])[:3])

	m.update("spoken", func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning })
	m.awaitReady("spoken")
	again := m.follow("spoken", "--tail", "1")
	require.True(t, again.lines.Scan())
	require.Contains(t, again.lines.Text(), "listening on")
	require.NoError(t, m.Delete(t.Context(), m.read("spoken")))
	m.awaitGone("spoken")
	require.NoError(t, <-drained(again))
}

// drained reads what is left of a log.
func drained(f followed) chan error {
	for f.lines.Scan() {
		continue
	}
	return f.ended
}

// A manager that is asked to stop does not wait for those who read on.
func TestStopUnderReaders(t *testing.T) {
	m := startManager(t, nil)
	m.create(game("quiet"))
	m.awaitReady("quiet")
	log := m.follow("quiet")
	require.True(t, log.lines.Scan())
	begin := time.Now()
	m.stop()
	require.Less(t, time.Since(begin), 9*time.Second, "the API drains for ten")
	if err := <-drained(log); err != nil {
		t.Log("it was cut off:", err)
	}
	startManager(t, func(c *Config) { c.DataDir = m.config.DataDir }) // which takes down what is there
}
