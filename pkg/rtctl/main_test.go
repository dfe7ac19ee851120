package rtctl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

// beRtctl makes this test binary be rtctl, under the name that it is called by.
const beRtctl = "RTCTL_TEST_BE_RTCTL"

// patience is how long a process of rtctl may take.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(beRtctl) != "" {
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		os.Exit(Main(context.Background(), streams, "v1", os.Args))
	}
	apiservertest.Main(m)
}

// process is a run of rtctl as a program of its own, or of one that runs it.
type process struct {
	*exec.Cmd
	out bytes.Buffer // both of its outputs
}

// program prepares a run of the program at a path, which is rtctl where that is the
// test binary by whatever name.
func program(t *testing.T, path string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, path, args...)}
	p.Env = append(os.Environ(), beRtctl+"=1")
	p.Stdout, p.Stderr = &p.out, &p.out
	return p
}

// code runs it, or waits for it, and is how it exited.
func (p *process) code(t *testing.T) int {
	t.Helper()
	wait := p.Run
	if p.Process != nil {
		wait = p.Wait
	}
	err := wait()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		require.NoError(t, err)
	}
	return p.ProcessState.ExitCode()
}

// self is the path of rtctl: the test binary.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// kubectl is the path of the stock kubectl, which hack/provision.sh sees to.
func kubectl(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("kubectl")
	if err != nil {
		path, err = filepath.Abs("../../bin/kubectl")
		require.NoError(t, err)
		require.FileExists(t, path, "make provision builds kubectl where there is none")
	}
	return path
}

// in runs rtctl within the test, and wants it to succeed.
func in(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := rtctl(t, args...)
	require.NoError(t, err, "rtctl %s: %s", strings.Join(args, " "), stderr)
	return stdout
}

// file writes a manifest, and returns its path.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// What watches without end is ended by Ctrl-C, at once.
func testSignal(t *testing.T, server *apiservertest.Server) {
	league(t, server, "watched")
	p := program(t, self(t), "get", "gr", "-n", "watched", "-w")
	p.Stdout, p.Stderr = nil, nil
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	table := bufio.NewScanner(out)
	require.True(t, table.Scan())
	require.Regexp(t, "^NAME ", table.Text())
	in(t, "label", "gr", "chess", "-n", "watched", "seen=yes")
	for range 2 { // the second row is of the watch, which has begun
		require.True(t, table.Scan())
		require.Regexp(t, "^chess ", table.Text())
	}
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	p.code(t)
	status := p.ProcessState.Sys().(syscall.WaitStatus)
	require.False(t, status.Signaled() && status.Signal() == syscall.SIGKILL, "it ended by itself")
}

// What an audit log has of rtctl says which one it was.
func TestServersKnowTheProgram(t *testing.T) {
	var agent atomic.Value
	m := startManager(t)
	m.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		agent.Store(req.UserAgent())
		http.NotFound(w, req)
	})
	kubeconfig(t, filepath.Join(here(t), ".runtime-manager", "kubeconfig"), m.URL, m.authority())
	for _, verb := range []string{"history", "describe gr"} {
		_, _, err := rtctl(t, append(strings.Fields(verb), "chess")...)
		require.Error(t, err)
		require.Regexp(t, `^rtctl/v1 \([a-z]+/[a-z0-9]+\)$`, agent.Load(), verb)
	}
}

// A log that ends with its manager is not taken for the end of the game.
func TestFollowedLogEndsWithTheManager(t *testing.T) {
	var ready atomic.Bool
	m := startManager(t)
	m.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/readyz" && !ready.Load() {
			http.Error(w, "shutting down", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, "a move\n")
	})
	kubeconfig(t, filepath.Join(here(t), ".runtime-manager", "kubeconfig"), m.URL, m.authority())
	stdout, _, err := rtctl(t, "logs", "-f", "chess")
	require.ErrorContains(t, err, "the manager went away: the game may run on, and write")
	require.Equal(t, "a move\n", stdout)
	_, _, err = rtctl(t, "logs", "chess")
	require.NoError(t, err)
	ready.Store(true)
	_, _, err = rtctl(t, "logs", "-f", "chess")
	require.NoError(t, err)
}

// Our own verbs end in order.
func TestSignalEndsOurVerbs(t *testing.T) {
	asked := make(chan struct{})
	m := startManager(t)
	m.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(asked)
		<-req.Context().Done()
	})
	kubeconfig(t, filepath.Join(here(t), ".runtime-manager", "kubeconfig"), m.URL, m.authority())
	p := program(t, self(t), "history", "chess")
	require.NoError(t, p.Start())
	<-asked
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	require.Equal(t, interrupted, p.code(t))
	require.Empty(t, p.out.String())
}
