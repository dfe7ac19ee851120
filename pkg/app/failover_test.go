//go:build integration

package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// What is promised of replicas.
const (
	longestFailover = 15 * time.Second
	longestHandOver = 2 * time.Second
)

// TestReplicas has two managers on one database and one engine, and takes the one
// away that leads: killed, stopped and paused. Each time a game dies that nobody sees
// die, and another one lives through it all untouched.
func TestReplicas(t *testing.T) {
	r := startReplicas(t)
	defer r.cleanUp() // before the processes end that the test started last
	witness := startWitness(t, r.installation())
	chess, bystander := r.awaitReady("chess"), r.awaitReady("go")

	t.Run("a standby tells what would be done", func(t *testing.T) {
		standby := &manager{t: t, kubeconfig: r.kubeconfig(1)}
		newer := filepath.Join(t.TempDir(), "chess.yaml")
		require.NoError(t, os.WriteFile(newer, []byte(strings.ReplaceAll(standby.yaml("chess"), "1.0.0", "1.0.1")), 0o600))
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			out, err := standby.rtctl("plan", "go")
			assert.NoError(c, err)
			assert.Equal(c, "default/go: in sync, nothing to do\n", out)
			out, _ = standby.rtctl("plan", "-f", newer) // it fails: there is a difference
			assert.Contains(c, out, "default/chess: RESTARTS the game\n")
		}, patience, 50*time.Millisecond)
	})
	t.Run("killed", func(t *testing.T) {
		killed := time.Now()
		r.managers[0].end(syscall.SIGKILL)
		r.WithWatch = r.through(1)
		dockerCLI(t, "kill", chess.Status.Container.ID)
		r.requireServed()
		r.create(game("meanwhile"))
		require.NotEqual(t, 1, r.leader(), "nobody leads yet")

		r.await("chess", "a restart", restartedTo(1))
		took := lastStart(t, chess).Sub(killed)
		t.Logf("killed to the next leader's start of a game: %v", took.Round(10*time.Millisecond))
		require.Less(t, took, longestFailover)
		require.Equal(t, 1, r.leader())
		r.awaitReady("meanwhile")
	})
	t.Run("stopped", func(t *testing.T) {
		r.start(0)
		r.requireServed()
		stopped := time.Now()
		r.managers[1].end(syscall.SIGTERM)
		require.Zero(t, r.managers[1].cmd.ProcessState.ExitCode())
		r.WithWatch = r.through(0)
		r.eventually("the first one leads", func() bool { return r.leader() == 0 })
		took := r.lease().Spec.AcquireTime.Sub(stopped)
		t.Logf("stopped to the next leader: %v", took.Round(10*time.Millisecond))
		require.Less(t, took, longestHandOver)
		dockerCLI(t, "kill", chess.Status.Container.ID)
		r.await("chess", "a restart", restartedTo(2))
	})
	t.Run("paused", func(t *testing.T) {
		r.start(1)
		paused := r.managers[0]
		starts := watchStarts(t, r.installation())
		require.NoError(t, paused.cmd.Process.Signal(syscall.SIGSTOP))
		r.WithWatch = r.through(1)
		dockerCLI(t, "kill", chess.Status.Container.ID)
		r.update("meanwhile", func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = ptr.To(metav1.Now()) })
		r.await("chess", "a restart", restartedTo(3))
		require.Equal(t, 1, r.leader())
		r.await("meanwhile", "a restart as asked for", func(g *v1alpha1.GameRuntime) bool {
			return isReady(g) && lastStart(t, g).After(g.Spec.RestartedAt.Time)
		})

		require.NoError(t, paused.cmd.Process.Signal(syscall.SIGCONT))
		require.Error(t, paused.cmd.Wait(), "it ends, and says so")
		require.Contains(t, paused.log.String(), "lost the lead to")
		r.create(game("after"))
		r.awaitReady("after")
		require.Equal(t, 1, starts.of("chess"), "it did nothing when it woke up")
		require.Equal(t, 1, starts.of("meanwhile"))
	})
	for _, name := range []string{"chess", "go", "meanwhile", "after"} {
		r.eventually(name+" has one container", func() bool { return len(r.containers(name)) == 1 })
	}
	now := r.read("go")
	require.Equal(t, bystander.Status.Container, now.Status.Container)
	require.Zero(t, now.Status.Restarts)
	require.Equal(t, readySince(bystander), readySince(now), "no change of the lead is a change of a game")
	witness.stop()
}

// replicas are two managers; the first one leads.
type replicas struct {
	*manager
	dir      string
	managers [2]*process
	start    func(n int)
}

func startReplicas(t *testing.T) *replicas {
	m := &manager{t: t}
	r := &replicas{manager: m, dir: tempDir(t)}
	m.config.StateRoot = filepath.Join(r.dir, "games")
	program, database := program(t), postgrestest.StartServer(t, postgrestest.ServerOptions{})
	r.start = func(n int) {
		r.managers[n] = startProcess(t, program, r.dataDir(n), "unix://"+engineSocket,
			"--state-root", m.config.StateRoot, "--database-url", database.URL())
	}
	r.start(0)
	m.WithWatch = newClient(t, r.kubeconfig(0))
	m.eventually("the first one leads", func() bool { return r.leader() == 0 })
	// Whoever knows one replica's authority knows the other one, and is known to it.
	require.NoError(t, os.MkdirAll(filepath.Join(r.dataDir(1), "pki"), 0o700))
	for _, file := range []string{"ca.crt", "ca.key"} {
		content, err := os.ReadFile(filepath.Join(r.dataDir(0), "pki", file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(r.dataDir(1), "pki", file), content, 0o600))
	}
	r.start(1)
	m.stop = func() {
		for _, p := range r.managers {
			if p.cmd.ProcessState == nil {
				p.end(syscall.SIGTERM)
			}
		}
	}
	m.create(game("chess"))
	m.create(game("go"))
	return r
}

func (r *replicas) dataDir(n int) string {
	return filepath.Join(r.dir, []string{"first", "second"}[n])
}

func (r *replicas) kubeconfig(n int) string { return filepath.Join(r.dataDir(n), "kubeconfig") }

// through reaches one replica with the other one's credentials.
func (r *replicas) through(n int) client.WithWatch {
	r.t.Helper()
	address, err := clientcmd.BuildConfigFromFlags("", r.kubeconfig(n))
	require.NoError(r.t, err)
	config, err := clientcmd.BuildConfigFromFlags(address.Host, r.kubeconfig(1-n))
	require.NoError(r.t, err)
	c, err := client.NewWithWatch(config, client.Options{Scheme: newScheme()})
	require.NoError(r.t, err)
	ready, err := kubernetes.NewForConfig(config)
	require.NoError(r.t, err)
	_, err = ready.RESTClient().Get().AbsPath("/readyz").DoRaw(context.Background())
	require.NoError(r.t, err, "a standby is ready")
	return c
}

// requireServed reads what is there, and what comes.
func (r *replicas) requireServed() {
	r.t.Helper()
	var all v1alpha1.GameRuntimeList
	require.NoError(r.t, r.List(context.Background(), &all))
	require.NotEmpty(r.t, all.Items)
	w, err := r.Watch(context.Background(), &all)
	require.NoError(r.t, err)
	defer w.Stop()
	<-w.ResultChan()
}

func (r *replicas) lease() *coordinationv1.Lease {
	r.t.Helper()
	var lease coordinationv1.Lease
	require.NoError(r.t, client.IgnoreNotFound(r.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: leaseName}, &lease)))
	return &lease
}

// leader is the number of the one that leads; -1 if none does.
func (r *replicas) leader() int {
	r.t.Helper()
	spec := r.lease().Spec
	for n := range r.managers {
		lock, err := os.Open(filepath.Join(r.dataDir(n), "lock"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it never ran
		}
		require.NoError(r.t, err)
		name, err := identity(lock)
		require.NoError(r.t, errors.Join(err, lock.Close()))
		if ptr.Deref(spec.HolderIdentity, "") == name {
			return n
		}
	}
	return -1
}

// lastStart is when a game's container last started, by the engine's own word.
func lastStart(t *testing.T, g *v1alpha1.GameRuntime) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, dockerCLI(t, "inspect", "-f", "{{.State.StartedAt}}", g.Status.Container.ID))
	require.NoError(t, err)
	return at
}

func readySince(g *v1alpha1.GameRuntime) metav1.Time {
	return meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady).LastTransitionTime
}
