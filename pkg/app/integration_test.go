//go:build integration

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// The reference game, as `make image` builds it.
const (
	demoImage  = "galaxy/demo-game:1.0.0"
	newerImage = "galaxy/demo-game:1.0.1"
)

func TestMain(m *testing.M) {
	LogLibraries(logr.Discard())
	if job, child := os.LookupEnv(jobKey); child {
		if err := doJob(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	postgrestest.Main(m)
}

// patience is how long anything may take on a busy machine before a test fails.
const patience = 90 * time.Second

// manager is a running one, and a client of it.
type manager struct {
	client.WithWatch
	t          testing.TB
	app        *App
	config     Config
	kubeconfig string
	stop       func()
	stopped    bool
}

// startManager runs a manager in this process, on the embedded PostgreSQL and
// the real engine, and takes it down with everything that it made.
func startManager(t testing.TB, change func(*Config)) *manager {
	app, err := New(testConfig(t, change), logr.Discard())
	require.NoError(t, err)
	return run(t, app)
}

func testConfig(t testing.TB, change func(*Config)) Config {
	config := DefaultConfig()
	config.DataDir = filepath.Join(tempDir(t), "data")
	config.APIAddress, config.RESTAddress, config.MetricsAddress = "127.0.0.1:0", "127.0.0.1:0", "0"
	config.Version = "v0.0.0-test"
	if change != nil {
		change(&config)
	}
	return config
}

func run(t testing.TB, app *App) *manager {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	m := &manager{t: t, app: app, config: app.config}
	m.stop = func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err, "an orderly end")
		case <-time.After(patience):
			t.Error("the manager does not end")
		}
		m.stop, m.stopped = func() {}, true
	}
	select {
	case m.kubeconfig = <-app.Kubeconfig():
	case err := <-done:
		require.NoError(t, err)
		t.Fatal("the manager ended at once")
	case <-time.After(patience):
		t.Fatal("the manager does not start")
	}
	m.WithWatch = newClient(t, m.kubeconfig)
	t.Cleanup(m.cleanUp)
	return m
}

// tempDir is one that PostgreSQL's user can reach, as few temporary ones are.
func tempDir(t testing.TB) string {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711))
	return dir
}

func newClient(t testing.TB, kubeconfig string) client.WithWatch {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	config.QPS = -1
	c, err := client.NewWithWatch(config, client.Options{Scheme: newScheme()})
	require.NoError(t, err)
	return c
}

// cleanUp deletes the records, which takes the containers with them, and then
// the installation's network.
func (m *manager) cleanUp() {
	if m.stopped { // by its test, which has another one on the same data
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	network := plan.NetworkName(m.installation())
	var all v1alpha1.GameRuntimeList
	if err := m.List(ctx, &all); err != nil {
		m.t.Errorf("cleaning up: %v", err)
	}
	for i := range all.Items {
		if err := m.Delete(ctx, &all.Items[i]); client.IgnoreNotFound(err) != nil {
			m.t.Errorf("cleaning up: %v", err)
		}
	}
	m.eventually("all records are gone", func() bool {
		return m.List(ctx, &all) == nil && len(all.Items) == 0
	})
	left := dockerCLI(m.t, "ps", "-aq", "--filter", "label="+v1alpha1.LabelInstallation+"="+m.installation())
	require.Empty(m.t, left, "no container is left behind")
	m.stop()
	_ = exec.Command("docker", "network", "rm", network).Run() // not there if nothing ever ran
}

func (m *manager) installation() string {
	var home corev1.Namespace
	require.NoError(m.t, m.Get(context.Background(), client.ObjectKey{Name: "default"}, &home))
	return string(home.UID)
}

func (m *manager) eventually(what string, condition func() bool) {
	m.t.Helper()
	require.Eventually(m.t, condition, patience, 50*time.Millisecond, what)
}

// game declares one, with a readiness probe.
func game(name string) *v1alpha1.GameRuntime {
	return &v1alpha1.GameRuntime{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1alpha1.GameRuntimeSpec{
			Image:                  demoImage,
			Ports:                  []v1alpha1.Port{{Name: "http", ContainerPort: 8080, HostPort: ptr.To[int32](0)}},
			Resources:              v1alpha1.Resources{Memory: resource.MustParse("64Mi"), CPU: resource.MustParse("500m")},
			StopGracePeriodSeconds: ptr.To[int32](5),
			Probes: v1alpha1.Probes{Readiness: &v1alpha1.Probe{
				HTTPGet: &v1alpha1.HTTPGetAction{Path: "/readyz", Port: 8080}, PeriodSeconds: 1,
			}},
		},
	}
}

func (m *manager) create(g *v1alpha1.GameRuntime) *v1alpha1.GameRuntime {
	m.t.Helper()
	require.NoError(m.t, m.Create(context.Background(), g))
	return g
}

func (m *manager) read(name string) *v1alpha1.GameRuntime {
	m.t.Helper()
	var g v1alpha1.GameRuntime
	require.NoError(m.t, m.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: name}, &g))
	return &g
}

func (m *manager) update(name string, change func(*v1alpha1.GameRuntimeSpec)) {
	m.t.Helper()
	g := m.read(name)
	before := g.DeepCopy()
	change(&g.Spec)
	require.NoError(m.t, m.Patch(context.Background(), g, client.MergeFrom(before)))
}

// await waits until a record says so, and returns it.
func (m *manager) await(name, what string, condition func(*v1alpha1.GameRuntime) bool) *v1alpha1.GameRuntime {
	m.t.Helper()
	var last v1alpha1.GameRuntime
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		err := m.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: name}, &last)
		require.NoError(m.t, err)
		if condition(&last) {
			return &last
		}
		<-time.After(30 * time.Millisecond)
	}
	told, _ := json.MarshalIndent(last.Status, "", "  ")
	m.t.Fatalf("%s: %s never came; status: %s", name, what, told)
	return nil
}

func (m *manager) awaitReady(name string) *v1alpha1.GameRuntime {
	m.t.Helper()
	return m.await(name, "Ready", isReady)
}

func isReady(g *v1alpha1.GameRuntime) bool {
	ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == g.Generation
}

func (m *manager) awaitGone(name string) {
	m.t.Helper()
	m.eventually(name+" is gone", func() bool {
		err := m.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: name}, &v1alpha1.GameRuntime{})
		return apierrors.IsNotFound(err)
	})
}

// containers lists the ids of a game's containers, in any state.
func (m *manager) containers(name string) []string {
	m.t.Helper()
	out := dockerCLI(m.t, "ps", "-aq", "--no-trunc",
		"--filter", "label="+v1alpha1.LabelInstallation+"="+m.installation(), "--filter", "label="+v1alpha1.LabelGame+"="+name)
	return strings.Fields(out)
}

func (m *manager) stateDir(name string) string {
	return plan.StateDir(m.config.StateRoot, plan.GameOf(&v1alpha1.GameRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}))
}

// dockerCLI does what an operator would do by hand.
func dockerCLI(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	require.NoError(t, err, "docker %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// turn asks a running game for its turn counter, advancing it first.
func turn(t *testing.T, g *v1alpha1.GameRuntime) int {
	t.Helper()
	url := fmt.Sprintf("http://127.0.0.1:%d/api/v1/turn", g.Status.Container.HostPorts["http"])
	answer, err := http.Post(url, "", nil)
	require.NoError(t, err)
	defer answer.Body.Close()
	var status struct{ Turn int }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&status))
	return status.Turn
}

func misbehave(t *testing.T, g *v1alpha1.GameRuntime, how string) {
	t.Helper()
	url := fmt.Sprintf("http://127.0.0.1:%d/misbehave/%s", g.Status.Container.HostPorts["http"], how)
	answer, err := http.Post(url, "", nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestLifeOfAGame(t *testing.T) {
	m := startManager(t, nil)
	m.create(game("chess"))
	g := m.awaitReady("chess")
	require.Equal(t, v1alpha1.PhaseRunning, g.Status.Phase)
	require.Equal(t, "http://chess.default:8080", g.Status.Container.Endpoint)
	require.Len(t, m.containers("chess"), 1)
	require.Equal(t, 1, turn(t, g))
	first := g.Status.Container.ID

	t.Run("killed: restarted, and counted", func(t *testing.T) {
		dockerCLI(t, "kill", first)
		g = m.await("chess", "a restart", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Restarts == 1 })
		require.Equal(t, first, g.Status.Container.ID)
		require.Equal(t, v1alpha1.TerminationStoppedByHand, g.Status.LastTermination.Reason)
		require.Equal(t, int32(137), g.Status.LastTermination.ExitCode)
		require.Equal(t, "SIGKILL", g.Status.LastTermination.Signal)
		require.Equal(t, 2, turn(t, g))
	})
	t.Run("removed by hand: made anew, its state intact", func(t *testing.T) {
		dockerCLI(t, "rm", "-f", first)
		g = m.await("chess", "a new container", func(g *v1alpha1.GameRuntime) bool {
			return isReady(g) && g.Status.Container.ID != first && g.Status.Restarts == 2
		})
		require.Equal(t, 3, turn(t, g), "the turn counter goes on")
	})
	t.Run("stopped by hand: started", func(t *testing.T) {
		dockerCLI(t, "stop", g.Status.Container.ID)
		g = m.await("chess", "a restart", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Restarts == 3 })
	})
	t.Run("Stopped: container stopped and kept", func(t *testing.T) {
		m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
		g = m.await("chess", "Stopped", func(g *v1alpha1.GameRuntime) bool { return g.Status.Phase == v1alpha1.PhaseStopped })
		require.Equal(t, []string{g.Status.Container.ID}, m.containers("chess"))
		require.Equal(t, v1alpha1.TerminationStoppedByUs, g.Status.LastTermination.Reason)
		require.Equal(t, "false", dockerCLI(t, "inspect", "-f", "{{.State.Running}}", g.Status.Container.ID))
	})
	t.Run("Running again: the same container, no restart counted", func(t *testing.T) {
		stopped := g.Status.Container.ID
		m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateRunning })
		g = m.awaitReady("chess")
		require.Equal(t, stopped, g.Status.Container.ID)
		require.Equal(t, int32(3), g.Status.Restarts)
	})
	t.Run("another image: another container, the same state", func(t *testing.T) {
		before := g.Status.Container.ID
		m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.Image = newerImage })
		g = m.await("chess", "a new container", func(g *v1alpha1.GameRuntime) bool {
			return isReady(g) && g.Status.Container.ID != before
		})
		require.Equal(t, newerImage, g.Status.Container.Image)
		require.Equal(t, 4, turn(t, g))
		require.Equal(t, int32(3), g.Status.Restarts)
	})
	t.Run("more memory: the same container, not restarted", func(t *testing.T) {
		before := g.Status.Container
		m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.Resources.Memory = resource.MustParse("96Mi") })
		m.eventually("the limit moved", func() bool {
			return dockerCLI(t, "inspect", "-f", "{{.HostConfig.Memory}}", before.ID) == fmt.Sprint(96<<20)
		})
		g = m.awaitReady("chess")
		require.Equal(t, before.StartedAt, g.Status.Container.StartedAt)
	})
	t.Run("restartedAt: another container, the same state", func(t *testing.T) {
		before := g.Status.Container.ID
		m.update("chess", func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = ptr.To(metav1.Now()) })
		g = m.await("chess", "a new container", func(g *v1alpha1.GameRuntime) bool {
			return isReady(g) && g.Status.Container.ID != before
		})
		require.Equal(t, 5, turn(t, g))
	})
	t.Run("paused: what happens to it is told, and mended later", func(t *testing.T) {
		pause := func(value string) {
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1alpha1.AnnotationPaused, value)
			require.NoError(t, m.Patch(context.Background(), g, client.RawPatch(types.MergePatchType, []byte(patch))))
		}
		pause(`"true"`)
		dockerCLI(t, "kill", g.Status.Container.ID)
		g = m.await("chess", "a game that is held", func(g *v1alpha1.GameRuntime) bool {
			return g.Status.Pending != nil && g.Status.Pending.Reason == v1alpha1.ReasonPaused
		})
		require.Equal(t, "false", dockerCLI(t, "inspect", "-f", "{{.State.Running}}", g.Status.Container.ID))
		require.False(t, meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionInSync))
		pause("null")
		g = m.awaitReady("chess")
		require.Equal(t, 6, turn(t, g))
	})
	t.Run("deleted: container gone, state kept", func(t *testing.T) {
		require.NoError(t, m.Delete(context.Background(), g))
		m.awaitGone("chess")
		require.Empty(t, m.containers("chess"))
		require.DirExists(t, m.stateDir("chess"))
	})
}

func TestDeleteReclaimsState(t *testing.T) {
	m := startManager(t, nil)
	g := game("checkers")
	g.Spec.Storage.ReclaimPolicy = v1alpha1.ReclaimDelete
	m.create(g)
	turn(t, m.awaitReady("checkers"))
	require.FileExists(t, firstFile(t, m.stateDir("checkers")))
	require.NoError(t, m.Delete(context.Background(), g))
	m.awaitGone("checkers")
	require.NoDirExists(t, m.stateDir("checkers"))
}

func firstFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	return filepath.Join(dir, entries[0].Name())
}

func TestImageThatDoesNotExist(t *testing.T) {
	m := startManager(t, nil)
	g := game("typo")
	g.Spec.Image = "127.0.0.1:9/galaxy/no-such-game:1.0.0"
	m.create(g)
	g = m.await("typo", "the engine's reason", func(g *v1alpha1.GameRuntime) bool {
		return g.Status.Pending != nil && g.Status.Pending.Reason == v1alpha1.ReasonImagePullFailed
	})
	require.NotNil(t, g.Status.Pending.NextTry, "it says when it tries again")
	ready := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReady)
	require.Equal(t, v1alpha1.ReasonImagePullFailed, ready.Reason)
	require.Contains(t, ready.Message, "no-such-game", "in the engine's words")

	m.update("typo", func(s *v1alpha1.GameRuntimeSpec) { s.Image = demoImage })
	m.awaitReady("typo")
}

func TestEngineAwayAndBack(t *testing.T) {
	proxy := startProxy(t)
	m := startManager(t, func(c *Config) { c.DockerHost = "unix://" + proxy.path })
	m.create(game("chess"))
	id := m.awaitReady("chess").Status.Container.ID

	proxy.cut()
	reachable := func(want metav1.ConditionStatus) func(*v1alpha1.GameRuntime) bool {
		return func(g *v1alpha1.GameRuntime) bool {
			return meta.IsStatusConditionPresentAndEqual(g.Status.Conditions, v1alpha1.ConditionEngineReachable, want)
		}
	}
	g := m.await("chess", "EngineReachable=False", reachable(metav1.ConditionFalse))
	require.Equal(t, v1alpha1.PhaseRunning, g.Status.Phase, "no phase is thrown away")
	require.NotNil(t, g.Status.Pending, "and it says what it waits for")

	dockerCLI(t, "kill", id) // nobody tells the manager
	proxy.mend()
	m.await("chess", "EngineReachable=True", reachable(metav1.ConditionTrue))
	g = m.await("chess", "recovery", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && g.Status.Restarts == 1 })
	require.Equal(t, id, g.Status.Container.ID)
}

func TestEngineAwayAtStart(t *testing.T) {
	proxy := startProxy(t)
	proxy.cut()
	m := startManager(t, func(c *Config) { c.DockerHost = "unix://" + proxy.path })
	m.create(game("chess"))
	g := m.await("chess", "a reason", func(g *v1alpha1.GameRuntime) bool { return g.Status.Pending != nil })
	require.False(t, isReady(g))
	proxy.mend()
	m.awaitReady("chess")
}

func TestRestartOfTheManagerKeepsGamesAndRecords(t *testing.T) {
	m := startManager(t, nil)
	m.create(game("chess"))
	before := m.awaitReady("chess")
	m.stop()
	require.Equal(t, "true", dockerCLI(t, "inspect", "-f", "{{.State.Running}}", before.Status.Container.ID), "games keep running")

	again := startManager(t, func(c *Config) { c.DataDir = m.config.DataDir })
	after := again.awaitReady("chess")
	require.Equal(t, before.Status.Container, after.Status.Container)
	require.Zero(t, after.Status.Restarts)
}

func TestBadConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"port in use":              {func(c *Config) { c.APIAddress = occupied(t) }, "address already in use: ss -ltnp tells by whom"},
		"wrong address":            {func(c *Config) { c.APIAddress = "nonsense" }, "--api-address"},
		"REST port in use":         {func(c *Config) { c.RESTAddress = occupied(t) }, "--rest-address: listen"},
		"metrics port in use":      {func(c *Config) { c.MetricsAddress = occupied(t) }, "--metrics-address: listen"},
		"unwritable state root":    {func(c *Config) { c.StateRoot = "/proc/nowhere" }, "--state-root: mkdir /proc/nowhere"},
		"REST without a port":      {func(c *Config) { c.RESTAddress = "127.0.0.1" }, "--rest-address"},
		"no namespace":             {func(c *Config) { c.GamesNamespace = "Games!" }, "--games-namespace"},
		"unwritable directory":     {func(c *Config) { c.DataDir = "/proc/nowhere" }, "--data-dir"},
		"unreachable database":     {func(c *Config) { c.DatabaseURL = "postgres://nobody:secret@127.0.0.1:9/none" }, "--database-url: connecting to the database: failed to connect to `user=nobody database=none`: 127.0.0.1:9"},
		"wrong docker host":        {func(c *Config) { c.DockerHost = "nonsense" }, "--docker-host"},
		"no file of credentials":   {func(c *Config) { c.RegistryConfig = "/nowhere/config.json" }, "--registry-config"},
		"no concurrency at all":    {func(c *Config) { c.Concurrency = 0 }, "--concurrency"},
		"a share of more than all": {func(c *Config) { c.MassVanishShare = 1.2 }, "--mass-vanish-share"},
		"unknown orphan policy":    {func(c *Config) { c.Orphans = "kill" }, "--orphans"},
		"negative retention":       {func(c *Config) { c.HistoryRetention = -1 }, "--history-retention"},
		"no Redis URL":             {func(c *Config) { c.RedisURL = "http://:secret@localhost" }, "--redis-url: not a URL that Redis is known by"},
		"negative stream length":   {func(c *Config) { c.StreamMaxLen = -1 }, "--stream-maxlen"},
		"no Lobby URL":             {func(c *Config) { c.LobbyURL = "lobby" }, "--lobby-url: the Lobby's URL must be"},
		"a token for nobody":       {func(c *Config) { c.LobbyTokenFile = "token" }, "--lobby-url: credentials"},
		"negative orphan grace":    {func(c *Config) { c.OrphanGrace = -1 }, "--orphan-grace"},
		"data directory in use":    {func(c *Config) { c.DataDir = occupiedDir(t) }, "another runtime-manager"},
		"metrics port is a name":   {func(c *Config) { c.MetricsAddress = "x" }, "--metrics-address"},
	} {
		t.Run(name, func(t *testing.T) {
			config := DefaultConfig()
			config.DataDir, config.APIAddress, config.RESTAddress, config.MetricsAddress = t.TempDir(), "127.0.0.1:0", "0", "0"
			c.change(&config)
			app, err := New(config, logr.Discard())
			if err == nil {
				err = app.Run(context.Background())
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n", "one line")
			require.NotContains(t, err.Error(), "secret", "no password")
		})
	}
}

func occupied(t *testing.T) string {
	listener := listen(t)
	return listener.Addr().String()
}

func occupiedDir(t *testing.T) string {
	path := t.TempDir()
	dir, err := openDataDir(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(dir.close())) })
	return path
}
