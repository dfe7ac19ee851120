//go:build integration

package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// process is a manager in a process of its own, which can be killed.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	log bytes.Buffer
}

// program is the path of the manager's binary.
func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	require.NoError(t, err)
	return path
}

// build is for all tests: to link takes longer than most of them. What it built
// stays, and is linked anew only when something in it has changed.
var build = sync.OnceValues(func() (string, error) {
	const path = "../../bin/runtime-manager.test"
	out, err := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "../../cmd/runtime-manager").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the manager: %w: %s", err, out)
	}
	return filepath.Abs(path)
})

func startProcess(t *testing.T, program, dataDir, dockerHost string, flags ...string) *process {
	t.Helper()
	kubeconfig := filepath.Join(dataDir, "kubeconfig")
	p := &process{t: t, cmd: exec.Command(program, append([]string{"serve", "--data-dir", dataDir,
		"--api-address", "127.0.0.1:0", "--rest-address", "0", "--metrics-address", "0", "--docker-host", dockerHost}, flags...)...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	require.NoError(t, os.RemoveAll(kubeconfig)) // it is written anew, with the new port
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.end(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("the manager's log:\n%s", p.log.String())
		}
	})
	require.Eventually(t, func() bool {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return false
		}
		c, err := client.New(config, client.Options{Scheme: newScheme()})
		return err == nil && c.List(context.Background(), &v1alpha1.GameRuntimeList{}) == nil
	}, patience, 20*time.Millisecond, "the manager serves")
	return p
}

func (p *process) end(signal syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(signal))
	_ = p.cmd.Wait() // a killed process has no good exit code
}

func kubectlPath() string {
	if path, err := exec.LookPath("kubectl"); err == nil {
		return path
	}
	return "../../bin/kubectl"
}

func TestKilledBetweenCreateAndStart(t *testing.T) {
	program, proxy := program(t), startProxy(t)
	dataDir := filepath.Join(tempDir(t), "data")
	proxy.hold("/start")
	first := startProcess(t, program, dataDir, "unix://"+proxy.path)

	m := &manager{t: t, WithWatch: newClient(t, filepath.Join(dataDir, "kubeconfig"))}
	m.config.StateRoot = filepath.Join(dataDir, "games")
	m.create(game("chess"))
	select {
	case <-proxy.heldSeen: // created, and about to be started
	case <-time.After(patience):
		t.Fatal("no start was ever asked for")
	}
	created := m.containers("chess")
	require.Len(t, created, 1)
	first.end(syscall.SIGKILL)

	second := startProcess(t, program, dataDir, "unix://"+engineSocket)
	m.WithWatch = newClient(t, filepath.Join(dataDir, "kubeconfig"))
	m.stop = func() { second.end(syscall.SIGTERM) }
	t.Cleanup(m.cleanUp)
	g := m.awaitReady("chess")
	require.Equal(t, created, m.containers("chess"), "no second container")
	require.Equal(t, 1, turn(t, g))
	require.Equal(t, v1alpha1.PhaseRunning, g.Status.Phase)
}

func TestTourWithKubectl(t *testing.T) {
	m := startManager(t, nil)
	kubectl := func(args ...string) (string, error) {
		out, err := exec.Command(kubectlPath(), append([]string{"--kubeconfig", m.kubeconfig}, args...)...).CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := kubectl(args...)
		require.NoError(t, err, "kubectl %s: %s", strings.Join(args, " "), out)
		return out
	}
	require.Contains(t, must("apply", "-k", "../../config/samples"), "created")
	must("wait", "--for=condition=Ready", "gr/chess", "--timeout=90s")
	table := must("get", "gr", "chess", "-o", "wide")
	for _, want := range []string{"STATE", "PHASE", "READY", "IMAGE", "RESTARTS", "ENDPOINT", "AGE", "CONTAINER", "ENGINE", "REASON", "Running", "http://chess.default:8080"} {
		require.Contains(t, table, want)
	}
	described := must("describe", "gr", "chess")
	for _, want := range []string{v1alpha1.ReasonCreated, v1alpha1.ReasonStarted, "the game is ready"} {
		require.Contains(t, described, want, "the Events tell the story")
	}
	require.Equal(t, "Running", must("get", "gr", "chess", "-o", "jsonpath={.status.phase}"))
	require.Equal(t, "start by kubectl-client-side-apply", must("get", "gr", "chess", "-o", "jsonpath={.status.lastOperation.action} by {.status.lastOperation.by}"))
	require.Contains(t, must("explain", "gr.spec.probes"), "readiness")
	require.Contains(t, must("api-resources"), "gameruntimes")
	must("patch", "gr", "chess", "--type=merge", "-p", `{"spec":{"state":"Stopped"}}`)
	must("wait", "--for=jsonpath={.status.phase}=Stopped", "gr/chess", "--timeout=60s")
	require.Equal(t, "stop by kubectl-patch", must("get", "gr", "chess", "-o", "jsonpath={.status.lastOperation.action} by {.status.lastOperation.by}"))
	out, err := kubectl("patch", "gr", "chess", "--type=merge", "-p", `{"spec":{"resources":{"memory":"much"}}}`)
	require.Error(t, err)
	require.Contains(t, out, "spec.resources.memory")
	must("delete", "gr", "--all", "--timeout=60s")
	require.Contains(t, must("get", "gr"), "No resources found")
}

func TestStopWhileStarting(t *testing.T) {
	dir := filepath.Join(tempDir(t), "data")
	p := &process{t: t, cmd: exec.Command(program(t), "serve", "--data-dir", dir, "--api-address", "127.0.0.1:0", "--rest-address", "0", "--metrics-address", "0")}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	require.NoError(t, p.cmd.Start())
	require.Eventually(t, func() bool { // initdb is at work
		_, err := os.Stat(filepath.Join(dir, "postgres", "data.new"))
		return err == nil
	}, patience, time.Millisecond)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "an orderly end: %s", p.log.String())
}
