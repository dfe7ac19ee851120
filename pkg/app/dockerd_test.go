//go:build integration

package app

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// daemon is a Docker engine of the test's own, which may be ended and started
// again. It has its own images, containers, networks and addresses, and leaves
// the host's packet filter alone. As where a service manager runs both, its
// containerd is a process beside it, and stays.
type daemon struct {
	t          *testing.T
	dir        string
	containerd *exec.Cmd
	cmd        *exec.Cmd
}

// startDaemon starts one that has the demo game's image, and makes it the
// engine of this test.
func startDaemon(t *testing.T) *daemon {
	if os.Getuid() != 0 {
		t.Skip("only root can run an engine of its own")
	}
	dir, err := os.MkdirTemp("", "dockerd") //nolint:usetesting // short: a socket's path has little room
	require.NoError(t, err)
	d := &daemon{t: t, dir: dir}
	t.Cleanup(d.remove)
	d.liveRestore(false)
	d.containerd = d.run("containerd", "--root", d.path("containerd"), "--state", d.path("state"), "--address", d.path("containerd.sock"))
	d.start()
	image, err := exec.Command("sh", "-c", "docker save "+demoImage+" | docker -H "+d.host()+" load").CombinedOutput()
	require.NoError(t, err, "%s", image)
	t.Setenv("DOCKER_HOST", d.host())
	return d
}

func (d *daemon) path(name string) string { return filepath.Join(d.dir, name) }
func (d *daemon) host() string            { return "unix://" + d.path("docker.sock") }

func (d *daemon) run(program string, args ...string) *exec.Cmd {
	d.t.Helper()
	log, err := os.OpenFile(d.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(d.t, err)
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(d.t, cmd.Start())
	return cmd
}

func (d *daemon) start() {
	d.t.Helper()
	d.cmd = d.run("dockerd", "--config-file", d.path("daemon.json"), "--containerd", d.path("containerd.sock"),
		"--data-root", d.path("data"), "--exec-root", d.path("exec"), "--pidfile", d.path("pid"), "--host", d.host(),
		"--iptables=false") // with --bridge none, or address pools of its own, it would delete the host's docker0
	require.Eventually(d.t, func() bool {
		return exec.Command("docker", "-H", d.host(), "version").Run() == nil
	}, patience, 50*time.Millisecond, "the engine answers")
}

func (d *daemon) end(signal syscall.Signal) {
	d.t.Helper()
	require.NoError(d.t, d.cmd.Process.Signal(signal))
	_ = d.cmd.Wait() // a killed process has no good exit code
	d.cmd = nil
}

// liveRestore says whether containers outlive the engine, from its next
// configuration on.
func (d *daemon) liveRestore(on bool) {
	d.t.Helper()
	config := fmt.Sprintf(`{"live-restore": %t}`, on)
	require.NoError(d.t, os.WriteFile(d.path("daemon.json"), []byte(config), 0o600))
	if d.cmd == nil {
		return
	}
	require.NoError(d.t, d.cmd.Process.Signal(syscall.SIGHUP))
	require.Eventually(d.t, func() bool {
		out, err := exec.Command("docker", "-H", d.host(), "info", "-f", "{{.LiveRestoreEnabled}}").Output()
		return err == nil && strings.TrimSpace(string(out)) == strconv.FormatBool(on)
	}, patience, 20*time.Millisecond)
}

// remove takes the engine away, with all that it leaves behind.
func (d *daemon) remove() {
	if d.t.Failed() {
		log, _ := exec.Command("tail", "-n", "40", d.path("log")).CombinedOutput()
		d.t.Logf("the engine's log:\n%s", log)
	}
	if d.cmd == nil {
		d.start()
	}
	d.liveRestore(false) // so that what a failed test left running ends with it
	d.end(syscall.SIGTERM)
	require.NoError(d.t, d.containerd.Process.Kill())
	_ = d.containerd.Wait()
	out, err := exec.Command("sh", "-c", `grep -o " $0[^ ]*" /proc/mounts | sort -r | xargs -r umount -l && rm -rf "$0"`, d.dir).CombinedOutput()
	require.NoError(d.t, err, "%s", out)
}

// TestEngineRestarts kills and ends the engine below fifty games, with live
// restore, where they go on, and without, where they go down with it.
func TestEngineRestarts(t *testing.T) {
	const games = 50
	d := startDaemon(t)
	m := startManager(t, nil)
	var names []string
	for i := range games {
		names = append(names, fmt.Sprint("game-", i))
		g := game(names[i])
		g.Spec.Ports = []v1alpha1.Port{{Name: "http", ContainerPort: 8080}}
		m.create(g)
	}
	ids := map[string]string{}
	for _, name := range names {
		ids[name] = m.awaitReady(name).Status.Container.ID
	}

	restarts := int32(0)
	for _, c := range []struct {
		name        string
		signal      syscall.Signal
		liveRestore bool
	}{
		{"killed, live restore", syscall.SIGKILL, true},
		{"ended, live restore", syscall.SIGTERM, true},
		{"killed", syscall.SIGKILL, false},
		{"ended", syscall.SIGTERM, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			d.liveRestore(c.liveRestore)
			if !c.liveRestore {
				restarts++
			}
			d.end(c.signal)
			m.await(names[0], "an engine that is away", func(g *v1alpha1.GameRuntime) bool {
				return meta.IsStatusConditionFalse(g.Status.Conditions, v1alpha1.ConditionEngineReachable)
			})
			d.start()
			reasons := map[v1alpha1.TerminationReason]int{}
			for _, name := range names {
				g := m.await(name, "to be back", func(g *v1alpha1.GameRuntime) bool {
					return isReady(g) && g.Status.Restarts >= restarts && meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionInSync)
				})
				require.Equal(t, restarts, g.Status.Restarts, name)
				require.Equal(t, ids[name], g.Status.Container.ID, name)
				if end := g.Status.LastTermination; end != nil {
					reasons[end.Reason]++
				}
			}
			if restarts > 0 {
				require.Equal(t, map[v1alpha1.TerminationReason]int{v1alpha1.TerminationEngineRestarted: games}, reasons)
			}
			running := strings.Fields(dockerCLI(t, "ps", "-q"))
			all := strings.Fields(dockerCLI(t, "ps", "-aq"))
			require.Len(t, running, games, "one running container a game")
			require.Len(t, all, games)
			t.Logf("in sync after %s", time.Since(begin).Round(100*time.Millisecond))
		})
	}

}
