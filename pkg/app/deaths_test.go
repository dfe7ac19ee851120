//go:build integration

package app

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// death is one way to die, and what is told of it.
type death struct {
	name string
	// declare makes the game one that dies by itself, or can be brought to it.
	declare func(*testing.T, *manager, *v1alpha1.GameRuntime)
	// kill brings a game that is ready to its end; nil if it dies by itself.
	kill func(*testing.T, *manager, *v1alpha1.GameRuntime)

	reason  v1alpha1.TerminationReason
	code    int32
	signal  string
	message string
	log     string
}

func deaths() []death {
	return []death{
		{name: "port-of-a-program", declare: portOfAProgram, reason: "StartFailedPort", code: 128, message: "address already in use"},
		{name: "port-of-a-container", declare: portOfAContainer, reason: "StartFailedPort", code: 128, message: "port is already allocated"},
		{name: "state-gone", kill: startAgainWithout(func(string) error { return nil }), reason: "StartFailedMount", code: 128, message: "does not exist: (state root)/default/state-gone"},
		{name: "state-a-file", kill: startAgainWithout(func(dir string) error { return os.WriteFile(dir, nil, 0o600) }), reason: "StartFailedMount", code: 127, message: "not a directory"},
		{name: "no-program", declare: runs("/no/such/program"), reason: "StartFailedImage", code: 127, message: "no such file"},
		{name: "not-executable", declare: runs("/etc/hostname"), reason: "StartFailedImage", code: 126, message: "permission denied"},
		{name: "not-a-program", declare: textAsProgram, reason: "Crashed", code: 1, message: "exit code 1", log: "exec format error"},

		{name: "exit-0", declare: exits(0), reason: "Completed", message: "exit code 0", log: "crashing as told"},
		{name: "exit-1", declare: exits(1), reason: "Crashed", code: 1, message: "exit code 1", log: "crashing as told"},
		{name: "exit-137", declare: exits(137), reason: "Crashed", code: 137, signal: "SIGKILL", message: "not for lack of memory", log: "crashing as told"},
		{name: "exit-255", declare: exits(255), reason: "Unknown", code: 255, message: "or the game chose it", log: "crashing as told"},
		{name: "out-of-memory", kill: leak, reason: "OOMKilled", code: 137, signal: "SIGKILL", message: "at its limit of 64Mi", log: "listening"},
		{name: "signal-of-the-host", kill: fromTheHost(syscall.SIGKILL), reason: "Crashed", code: 137, signal: "SIGKILL", message: "not over the engine's API", log: "listening"},
		{name: "segmentation-fault", kill: fromTheHost(syscall.SIGSEGV), reason: "Crashed", code: 2, message: "exit code 2", log: "goroutine"},
		{name: "signal-from-inside", kill: fromInside, reason: "Completed", message: "exit code 0", log: "stopped at turn 0"},
		{name: "shim-killed", kill: killShim, reason: "Crashed", code: 137, signal: "SIGKILL", message: "killed by SIGKILL"},

		{name: "docker-kill", kill: byHand("kill"), reason: "StoppedByHand", code: 137, signal: "SIGKILL", message: "sent it SIGKILL"},
		{name: "docker-kill-int", kill: byHand("kill", "-s", "INT"), reason: "StoppedByHand", signal: "SIGINT", message: "sent it SIGINT", log: "stopped at turn 0"},
		{name: "docker-stop", kill: byHand("stop"), reason: "StoppedByHand", signal: "SIGTERM", message: "sent it SIGTERM", log: "stopped at turn 0"},
		{name: "docker-rm", kill: byHand("rm", "-f"), reason: "Unknown", code: 255, message: "disappeared"},

		{name: "stopped", kill: stopped, reason: "StoppedByUs", message: "the record asks for Stopped", log: "stopped at turn 0"},
		{name: "paused-by-hand", kill: byHand("pause"), reason: "StoppedByUs", message: "it was paused by hand", log: "stopped at turn 0"},
		{name: "unhealthy", declare: liveness, kill: failHealth, reason: "ProbeFailed", message: "liveness probe failed", log: "stopped at turn 0"},
	}
}

// TestDeaths brings games to their end in many ways, on the real engine: each is
// told with its evidence.
func TestDeaths(t *testing.T) {
	m := startManager(t, nil)
	for _, d := range deaths() {
		g := game(d.name)
		g.Spec.RestartPolicy, g.Spec.StopGracePeriodSeconds = v1alpha1.RestartNever, ptr.To[int32](2)
		if d.declare != nil {
			d.declare(t, m, g)
		}
		m.create(g)
	}
	for _, d := range deaths() {
		t.Run(d.name, func(t *testing.T) {
			if d.kill != nil {
				d.kill(t, m, m.awaitReady(d.name))
			}
			g := m.await(d.name, string(d.reason), func(g *v1alpha1.GameRuntime) bool {
				return g.Status.LastTermination != nil && g.Status.LastTermination.Reason != ""
			})
			end := g.Status.LastTermination
			t.Logf("%s: %q; the engine shows %s", end.Reason, end.Message, engineShows(end.ContainerID))
			require.Equal(t, d.reason, end.Reason, end.Message)
			require.Equal(t, d.code, end.ExitCode)
			require.Equal(t, d.signal, end.Signal)
			require.Contains(t, end.Message, d.message)
			require.NotContains(t, end.Message, m.config.DataDir)
			require.Contains(t, end.Log, d.log)
		})
	}
}

// engineShows is the engine's own word, for the record of what engines do.
func engineShows(id string) string {
	out, _ := exec.Command("docker", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} oom={{.State.OOMKilled}} {{.State.Error}}", id).CombinedOutput()
	return strings.TrimSpace(string(out))
}

func portOfAProgram(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
	holder, err := net.Listen("tcp4", "0.0.0.0:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = holder.Close() })
	g.Spec.Ports[0].HostPort = ptr.To(int32(holder.Addr().(*net.TCPAddr).Port))
}

func portOfAContainer(_ *testing.T, m *manager, g *v1alpha1.GameRuntime) {
	m.create(game("holder"))
	g.Spec.Ports[0].HostPort = ptr.To(m.awaitReady("holder").Status.Container.HostPorts["http"])
}

// startAgainWithout stops a game, puts something in place of its state, and
// starts it again.
func startAgainWithout(put func(dir string) error) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(t *testing.T, m *manager, g *v1alpha1.GameRuntime) {
		stopped(t, m, g)
		g = m.await(g.Name, "Stopped", func(g *v1alpha1.GameRuntime) bool { return g.Status.Phase == v1alpha1.PhaseStopped })
		require.NoError(t, os.RemoveAll(m.stateDir(g.Name)))
		require.NoError(t, put(m.stateDir(g.Name)))
		m.update(g.Name, func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning })
		m.await(g.Name, "a start that fails", func(g *v1alpha1.GameRuntime) bool {
			return g.Status.LastTermination.Reason != v1alpha1.TerminationStoppedByUs
		})
	}
}

func runs(words ...string) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(_ *testing.T, _ *manager, g *v1alpha1.GameRuntime) { g.Spec.Command = words }
}

// textAsProgram is executable and no program: the engine finds that out too late
// to call it a start that failed.
func textAsProgram(t *testing.T, m *manager, g *v1alpha1.GameRuntime) {
	dir := m.stateDir(g.Name)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "program"), []byte("turn"), 0o755))
	g.Spec.Command = []string{"/var/lib/galaxy-game/program"}
}

func exits(code int) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(_ *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
		g.Spec.Env = []v1alpha1.EnvVar{{Name: "CRASH_AFTER", Value: "100ms"}, {Name: "EXIT_CODE", Value: strconv.Itoa(code)}}
	}
}

func leak(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
	answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/misbehave/leak?mb=200", g.Status.Container.HostPorts["http"]), "", nil)
	if err == nil { // it can be too late for an answer
		require.NoError(t, answer.Body.Close())
	}
}

func pidOf(t *testing.T, g *v1alpha1.GameRuntime) int {
	pid, err := strconv.Atoi(dockerCLI(t, "inspect", "-f", "{{.State.Pid}}", g.Status.Container.ID))
	require.NoError(t, err)
	require.Positive(t, pid)
	return pid
}

func fromTheHost(signal syscall.Signal) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
		require.NoError(t, syscall.Kill(pidOf(t, g), signal))
	}
}

// fromInside is what a program that is run beside the game can do to it.
func fromInside(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
	out, err := exec.Command("nsenter", "--pid", "--target", strconv.Itoa(pidOf(t, g)), "kill", "-TERM", "1").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func killShim(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pidOf(t, g)))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(status), "PPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	shim, err := strconv.Atoi(line)
	require.NoError(t, err)
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", shim))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(name), "containerd-shim"), "%s", name)
	require.NoError(t, syscall.Kill(shim, syscall.SIGKILL))
}

func byHand(words ...string) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
		dockerCLI(t, append(words, g.Status.Container.ID)...)
	}
}

func stopped(_ *testing.T, m *manager, g *v1alpha1.GameRuntime) {
	m.update(g.Name, func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
}

func liveness(_ *testing.T, _ *manager, g *v1alpha1.GameRuntime) {
	g.Spec.Probes.Liveness = &v1alpha1.Probe{
		HTTPGet: &v1alpha1.HTTPGetAction{Path: "/healthz", Port: 8080}, PeriodSeconds: 1, FailureThreshold: 3,
	}
}

func failHealth(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) { misbehave(t, g, "fail-health") }
