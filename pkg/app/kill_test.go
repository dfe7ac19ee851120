//go:build integration

package app

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/docker"
)

// kills is what fits into a run of all tests; `make kills` does 200.
var kills = flag.Int("kills", 30, "how often TestKilledAtAnyPoint kills the manager")

// lifetime is how long a manager lives at most, from when it serves.
const lifetime = 2500 * time.Millisecond

// mortals are the games that it kills the manager over.
var mortals = []string{"m1", "m2", "m3", "m4", "m5"}

// TestKilledAtAnyPoint kills the manager again and again while people change,
// delete and declare games. At no moment two containers of a game run, no end of
// our own doing is called anything else, and at last each game is as declared, on
// its old state.
func TestKilledAtAnyPoint(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	program, dataDir := program(t), filepath.Join(tempDir(t), "data")
	kubeconfig := filepath.Join(dataDir, "kubeconfig")
	current := startProcess(t, program, dataDir, "unix://"+engineSocket)
	m := &manager{t: t, WithWatch: newClient(t, kubeconfig)}
	m.config.StateRoot = filepath.Join(dataDir, "games")
	m.stop = func() { current.end(syscall.SIGTERM) }
	defer m.cleanUp() // before the last process is ended, which is not the first
	for _, name := range mortals {
		m.create(game(name))
	}
	for _, name := range mortals {
		m.awaitReady(name)
		require.NoError(t, os.WriteFile(m.marker(name), []byte(name), 0o600))
	}

	witness := startWitness(t, m.installation())
	begin, caught := time.Now(), 0
	for range *kills {
		people := startPeople(t, m, rand.New(rand.NewPCG(random.Uint64(), 0)))
		<-time.After(time.Duration(random.Int64N(int64(lifetime))))
		current.end(syscall.SIGKILL)
		people.stop()
		caught += bytes.Count(current.log.Bytes(), []byte("Settled"))
		current = startProcess(t, program, dataDir, "unix://"+engineSocket)
		m.WithWatch = newClient(t, kubeconfig)
	}
	t.Logf("%d kills in %v left %d operations open", *kills, time.Since(begin).Round(time.Second), caught)
	for _, name := range mortals {
		m.requireAlive(t, name)
	}
	m.requireNoFalseStory()
	witness.stop()
}

func (m *manager) marker(name string) string { return filepath.Join(m.stateDir(name), "marker") }

// requireAlive brings a game back to life, whatever people did to it last.
func (m *manager) requireAlive(t *testing.T, name string) {
	m.t.Helper()
	m.eventually("the record is there and asks for Running", func() bool { return change(m, name, wantRunning) == nil })
	g := m.await(name, "in sync and ready", func(g *v1alpha1.GameRuntime) bool {
		return isReady(g) && meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionInSync) &&
			g.Status.ObservedGeneration == g.Generation
	})
	require.Equal(m.t, []string{g.Status.Container.ID}, m.containers(name), "one container")
	require.Empty(m.t, falseStory(g))
	marker, err := os.ReadFile(m.marker(name))
	require.NoError(m.t, err)
	require.Equal(m.t, name, string(marker), "the state is intact")
	turn(t, g)
}

// falseStory is what a record says of a game that nobody but us ever ended.
func falseStory(g *v1alpha1.GameRuntime) string {
	end := g.Status.LastTermination
	switch {
	case g.Status.Restarts > 0:
		return fmt.Sprintf("%s was restarted %d times", g.Name, g.Status.Restarts)
	case end != nil && (end.Reason != v1alpha1.TerminationStoppedByUs || end.Operation == ""):
		return fmt.Sprintf("%s ended: %s: %s", g.Name, end.Reason, end.Message)
	}
	return ""
}

// requireNoFalseStory reads what was told meanwhile.
func (m *manager) requireNoFalseStory() {
	m.t.Helper()
	var told eventsv1.EventList
	require.NoError(m.t, m.List(context.Background(), &told))
	require.NotEmpty(m.t, told.Items)
	for _, e := range told.Items {
		require.NotContains(m.t, []string{v1alpha1.ReasonExited, v1alpha1.ReasonVanished}, e.Reason, "%s: %s", e.Regarding.Name, e.Note)
	}
}

// people change games, one after the other, while there is a manager.
type people struct {
	ended chan struct{}
	done  chan struct{}
}

func startPeople(t *testing.T, records client.Client, random *rand.Rand) people {
	p := people{ended: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for {
			select {
			case <-p.ended:
				return
			case <-time.After(time.Duration(random.Int64N(int64(300 * time.Millisecond)))):
			}
			name, wish := mortals[random.IntN(len(mortals))], wishes[random.IntN(len(wishes))]
			_ = change(records, name, wish) // it fails when the manager dies
			var g v1alpha1.GameRuntime
			if records.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: name}, &g) == nil && falseStory(&g) != "" {
				t.Error(falseStory(&g))
			}
		}
	}()
	return p
}

func (p people) stop() {
	close(p.ended)
	<-p.done
}

// wishes are what people do; nil deletes the record, to be declared anew by the
// next one.
var wishes = []func(*v1alpha1.GameRuntimeSpec){
	nil, wantRunning, wantRunning,
	func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped },
	func(s *v1alpha1.GameRuntimeSpec) { s.Image = demoImage },
	func(s *v1alpha1.GameRuntimeSpec) { s.Image = newerImage },
	func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = ptr.To(metav1.Now()) },
	func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("64Mi") },
	func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("96Mi") },
}

func wantRunning(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning }

func change(records client.Client, name string, wish func(*v1alpha1.GameRuntimeSpec)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var g v1alpha1.GameRuntime
	err := records.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &g)
	switch {
	case apierrors.IsNotFound(err):
		return records.Create(ctx, game(name))
	case err != nil:
		return err
	case !g.DeletionTimestamp.IsZero():
		return fmt.Errorf("%s is being deleted", name)
	case wish == nil:
		return records.Delete(ctx, &g)
	}
	before := g.DeepCopy()
	wish(&g.Spec)
	return records.Patch(ctx, &g, client.MergeFrom(before))
}

// startWitness watches the engine for two containers of a game that run at once.
func startWitness(t *testing.T, installation string) people {
	asked, err := docker.New(docker.Options{})
	require.NoError(t, err)
	w := people{ended: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		defer asked.Close()
		for {
			select {
			case <-w.ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
			all, err := asked.List(context.Background(), installation)
			if err != nil {
				t.Error(err)
				return
			}
			running := map[engine.GameID]string{}
			for _, c := range all {
				if c.State != engine.StateRunning {
					continue
				}
				if other := running[c.Game]; other != "" {
					t.Errorf("two containers of %s run: %s and %s", c.Game, other, c.ID)
				}
				running[c.Game] = c.ID
			}
		}
	}()
	return w
}
