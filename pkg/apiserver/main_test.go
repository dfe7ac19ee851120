package apiserver

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/kubectl/pkg/cmd"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

// beKubectl makes this test binary be kubectl, on a machine that has none.
const beKubectl = "APISERVER_TEST_BE_KUBECTL"

const patience = 20 * time.Second

var games = schema.GroupVersionResource{Group: "runtime.galaxy.io", Version: "v1alpha1", Resource: "gameruntimes"}

func TestMain(m *testing.M) {
	if os.Getenv(beKubectl) != "" {
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		if cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{Arguments: os.Args, IOStreams: streams}).Execute() != nil {
			os.Exit(1)
		}
		return
	}
	klog.SetLogger(logr.Discard())
	postgrestest.Main(m)
}

// api is a running server and its administrator.
type api struct {
	*Server
	t     *testing.T
	admin *rest.Config
	stop  func()
	// ttl asks the database how many seconds an object has to live.
	ttl func(uid string) (seconds float64)
	// engine is what the games of the server under test would run on.
	engine *watchedEngine
}

func openStore(t *testing.T, options store.Options) *store.Backend {
	t.Helper()
	backend, err := store.Open(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(backend.Close)
	return backend
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	return listener
}

func start(t *testing.T, backend Store, dir, address string, crds fs.FS, edit ...func(*Options)) *api {
	t.Helper()
	games := newWatchedEngine()
	options := Options{
		Store: backend, Dir: dir, Listener: listen(t, address), CRDs: crds, History: readStories, Plan: planAsAsked,
		Console: &Console{Engine: games, View: games.view}, Version: "v1.2.3", Log: logr.Discard(),
	}
	for _, e := range edit {
		e(&options)
	}
	server, err := New(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stopped := false
	a := &api{Server: server, t: t, engine: games, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-done)
	}}
	t.Cleanup(a.stop)
	select {
	case <-server.Ready():
	case err := <-done:
		require.NoError(t, err, "the server gave up")
	case <-time.After(patience):
		require.FailNow(t, "the server is not ready", "%v", *server.waiting.Load())
	}
	a.admin, err = clientcmd.BuildConfigFromFlags("", server.Kubeconfig())
	require.NoError(t, err)
	return a
}

// in is the same server, seen from a subtest.
func (a *api) in(t *testing.T) *api {
	b := *a
	b.t = t
	return &b
}

func (a *api) dynamic() dynamic.Interface {
	a.t.Helper()
	client, err := dynamic.NewForConfig(a.admin)
	require.NoError(a.t, err)
	return client
}

// games are the records of one namespace, over the administrator's client.
func (a *api) games(namespace string) dynamic.ResourceInterface {
	return a.dynamic().Resource(games).Namespace(namespace)
}

// namespace makes a namespace for one test.
func (a *api) namespace(name string) string {
	a.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := a.client.CoreV1().Namespaces().Create(a.t.Context(), ns, metav1.CreateOptions{})
	require.NoError(a.t, err)
	return name
}

// kubectl runs kubectl as the administrator and wants it to succeed.
func (a *api) kubectl(stdin string, args ...string) string {
	a.t.Helper()
	out, code := a.tryKubectl(stdin, args...)
	require.Zero(a.t, code, "kubectl %s: %s", strings.Join(args, " "), out)
	return out
}

// tryKubectl runs kubectl and returns all that it printed, and how it exited.
func (a *api) tryKubectl(stdin string, args ...string) (string, int) {
	a.t.Helper()
	path, err := exec.LookPath("kubectl")
	env := append(os.Environ(), "KUBECONFIG="+a.Kubeconfig(), "HOME="+a.t.TempDir())
	if err != nil {
		path, err = os.Executable()
		require.NoError(a.t, err)
		env = append(env, beKubectl+"=1")
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, path, args...)
	var out bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr, command.Env = strings.NewReader(stdin), &out, &out, env
	if err := command.Run(); err != nil && command.ProcessState == nil {
		require.NoError(a.t, err)
	}
	return out.String(), command.ProcessState.ExitCode()
}

// game is a record as people write it; edit changes a copy of it.
func game(name string, edit ...func(map[string]any)) *unstructured.Unstructured {
	spec := map[string]any{"image": "galaxy/demo-game:1.0.0"}
	for _, e := range edit {
		e(spec)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "runtime.galaxy.io/v1alpha1",
		"kind":       "GameRuntime",
		"metadata":   map[string]any{"name": name},
		"spec":       spec,
	}}
}

func manifest(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	content, err := object.MarshalJSON()
	require.NoError(t, err)
	return string(content)
}

// TestServer runs everything that can share one server.
func TestServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	pool := postgrestest.Schema(t)
	server := start(t, openStore(t, store.Options{Pool: pool}), dir, "127.0.0.1:0", config.CRDs)
	server.ttl = func(uid string) (seconds float64) {
		const query = "SELECT extract(epoch FROM expires_at - now()) FROM objects WHERE uid = $1"
		require.NoError(t, pool.QueryRow(t.Context(), query, uid).Scan(&seconds))
		return seconds
	}
	for name, run := range map[string]func(*testing.T, *api){
		"kubectl tells the story of a record": testKubectl,
		"kubectl finds its way":               testKubectlDiscovery,
		"kubectl waits and watches":           testKubectlWatch,
		"bad input":                           testBadInput,
		"the version of an image":             testImageVersion,
		"the distance between images":         testImageDistance,
		"conflicts":                           testConflicts,
		"identity":                            testIdentity,
		"a kubeconfig for a user":             testKubeconfig,
		"a client certificate that ended":     testEndedCertificate,
		"old ways of TLS":                     testOldTLS,
		"health":                              testHealth,
		"history":                             testHistory,
		"the history of no game":              testNoHistory,
		"wrong questions about a history":     testBadHistory,
		"who may read a history":              testHistoryIdentity,
		"a history is discovered":             testHistoryDiscovery,
		"a plan":                              testPlan,
		"what cannot be planned":              testBadPlan,
		"a log":                               testLog,
		"a log that is followed":              testFollowedLog,
		"no log":                              testNoLog,
		"wrong questions about a log":         testBadLog,
		"a program in a game":                 testExec,
		"a program with input":                testExecInput,
		"a program on a terminal":             testExecTerminal,
		"a program whose client leaves":       testExecLeft,
		"no program":                          testNoExec,
		"wrong programs":                      testBadExec,
		"what a game uses":                    testStats,
		"an engine in trouble":                testConsoleFailures,
		"the console is discovered":           testConsoleDiscovery,
		"old clients discover":                testGroupList,
		"events in both groups":               testEvents,
		"events are watched in both groups":   testEventWatches,
		"recorders of events":                 testEventRecorders,
		"leases":                              testLeases,
		"leader election":                     testLeaderElection,
		"a namespace that is missing":         testMissingNamespace,
		"namespaces":                          testNamespaces,
		"namespace deletion":                  testNamespaceDeletion,
		"garbage collection":                  testGarbageCollection,
	} {
		t.Run(name, func(t *testing.T) { run(t, server.in(t)) })
	}
}
