package apiserver

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

const (
	playedImage  = "galaxy/demo-game:1.0.0"
	installation = "ours"
)

// watchedEngine is a simulated engine that counts what its console has open.
type watchedEngine struct {
	*enginetest.Sim
	open atomic.Int64
}

func newWatchedEngine() *watchedEngine { return &watchedEngine{Sim: enginetest.NewSim(playedImage)} }

func (e *watchedEngine) Output(ctx context.Context, id string, options engine.OutputOptions) (io.ReadCloser, error) {
	output, err := e.Sim.Output(ctx, id, options)
	if err == nil {
		e.open.Add(1)
		output = &watchedOutput{output, e}
	}
	return output, err
}

type watchedOutput struct {
	io.ReadCloser
	engine *watchedEngine
}

func (o *watchedOutput) Close() error {
	o.engine.open.Add(-1)
	return o.ReadCloser.Close()
}

func (e *watchedEngine) Run(ctx context.Context, id string, program engine.Program) (int32, error) {
	e.open.Add(1)
	defer e.open.Add(-1)
	return e.Sim.Run(ctx, id, program)
}

// view is a mirror's, of every game but the unseen one.
func (e *watchedEngine) view(game engine.GameID) engine.View {
	if game.Name == "unseen" {
		return engine.View{}
	}
	view := engine.View{Seen: true}
	listed, _ := e.List(context.Background(), installation)
	for _, l := range listed {
		if c, err := e.Inspect(context.Background(), l.ID); err == nil && c.Game == game {
			view.Containers = append(view.Containers, c)
		}
	}
	slices.SortFunc(view.Containers, func(a, b engine.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return view
}

// play gives a record a container of the test game, and runs it.
func (a *api) play(namespace, name string, args ...string) (id string) {
	a.t.Helper()
	ctx := a.t.Context()
	require.NoError(a.t, a.engine.EnsureNetwork(ctx, "games", installation))
	id, err := a.engine.Create(ctx, engine.ContainerSpec{
		Name: name + "." + namespace + "." + time.Now().String(), Image: playedImage, Network: "games", Args: args,
		Labels: map[string]string{
			v1alpha1.LabelInstallation: installation, v1alpha1.LabelNamespace: namespace, v1alpha1.LabelGame: name,
		},
		Resources: engine.Resources{NanoCPUs: 250_000_000, MemoryBytes: 64 << 20, Pids: 100},
	})
	require.NoError(a.t, err)
	require.NoError(a.t, a.engine.Start(ctx, id))
	return id
}

// declare makes records, which nobody here gives a container.
func (a *api) declare(namespace string, names ...string) {
	a.t.Helper()
	for _, name := range names {
		_, err := a.games(namespace).Create(a.t.Context(), game(name), metav1.CreateOptions{})
		require.NoError(a.t, err)
	}
}

// request is one for a subresource, as the administrator.
func (a *api) request(verb, namespace, name, subresource string, query url.Values) *rest.Request {
	a.t.Helper()
	client, err := kubernetes.NewForConfig(a.admin)
	require.NoError(a.t, err)
	path := "/apis/runtime.galaxy.io/v1alpha1/namespaces/" + namespace + "/gameruntimes/" + name + "/" + subresource
	return client.CoreV1().RESTClient().Verb(verb).RequestURI(path + "?" + query.Encode()).MaxRetries(0)
}

func (a *api) log(namespace, name string, query url.Values) (string, error) {
	a.t.Helper()
	answer := a.request("GET", namespace, name, "log", query).Do(a.t.Context())
	if err := answer.Error(); err != nil { // in the server's words
		return "", err
	}
	text, err := answer.Raw()
	return string(text), err
}

func (a *api) awaitClosed() {
	a.t.Helper()
	require.Eventually(a.t, func() bool { return a.engine.open.Load() == 0 }, patience, 5*time.Millisecond, "the engine still serves somebody")
}

func testLog(t *testing.T, a *api) {
	namespace := a.namespace("logs")
	a.declare(namespace, "chess")
	id := a.play(namespace, "chess", enginetest.Say, "first", "second")
	a.awaitEnd(id)
	read := func(query url.Values) string {
		text, err := a.log(namespace, "chess", query)
		require.NoError(t, err)
		return text
	}
	require.Equal(t, "first\nsecond\n", read(nil), "it does not run any more")
	require.Equal(t, "second\n", read(url.Values{"tailLines": {"1"}}))
	require.Empty(t, read(url.Values{"tailLines": {"0"}}))
	require.Equal(t, "first\nse", read(url.Values{"limitBytes": {"8"}}))
	require.Equal(t, "first\n", read(url.Values{"stream": {"Stdout"}}))
	require.Equal(t, "second\n", read(url.Values{"stream": {"Stderr"}}))
	require.Empty(t, read(url.Values{"sinceTime": {time.Now().Add(time.Hour).Format(time.RFC3339)}}))
	require.Equal(t, "first\nsecond\n", read(url.Values{"sinceSeconds": {"3600"}, "follow": {"true"}}), "there is no more to come")
	at, _, _ := strings.Cut(read(url.Values{"timestamps": {"true"}}), " ")
	_, err := time.Parse(time.RFC3339Nano, at)
	require.NoError(t, err)
	a.awaitClosed()

	a.play(namespace, "chess", enginetest.Serve)
	require.Empty(t, read(nil), "the container that runs is meant")
}

func (a *api) awaitEnd(id string) {
	a.t.Helper()
	require.Eventually(a.t, func() bool {
		c, err := a.engine.Inspect(context.Background(), id)
		return err == nil && c.State == engine.StateExited
	}, patience, time.Millisecond)
}

func testFollowedLog(t *testing.T, a *api) {
	namespace := a.namespace("followed")
	a.declare(namespace, "chess", "quiet")
	id := a.play(namespace, "chess", enginetest.Chat)
	a.play(namespace, "quiet")
	follow := url.Values{"follow": {"true"}}
	stream, err := a.request("GET", namespace, "chess", "log", follow).Stream(t.Context())
	require.NoError(t, err)
	lines := bufio.NewScanner(stream)
	for _, want := range []string{"line 1", "line 2", "line 3"} {
		require.True(t, lines.Scan())
		require.Equal(t, want, lines.Text())
	}
	a.engine.Kill(id, enginetest.Ending{})
	for lines.Scan() { // to the end of the game
		continue
	}
	require.NoError(t, lines.Err())
	require.NoError(t, stream.Close())
	a.awaitClosed()

	ctx, leave := context.WithCancel(t.Context())
	stream, err = a.request("GET", namespace, "quiet", "log", follow).Stream(ctx)
	require.NoError(t, err, "a game that writes nothing is followed, too")
	require.EqualValues(t, 1, a.engine.open.Load())
	leave()
	_ = stream.Close()
	a.awaitClosed()
}

func testNoLog(t *testing.T, a *api) {
	namespace := a.namespace("no-logs")
	a.declare(namespace, "unseen", "bare")
	a.play(namespace, "orphan")
	for name, is := range map[string]func(error) bool{
		"nobody": apierrors.IsNotFound, "orphan": apierrors.IsNotFound, "bare": apierrors.IsConflict, "unseen": apierrors.IsServiceUnavailable,
	} {
		_, err := a.log(namespace, name, nil)
		require.True(t, is(err), "%s: %v", name, err)
	}
	_, err := a.log(namespace, "bare", nil)
	require.ErrorContains(t, err, `gameruntimes.runtime.galaxy.io "bare": it has no container`)
}

func testBadLog(t *testing.T, a *api) {
	for _, c := range []struct{ parameter, value, detail string }{
		{"tailLines", "-1", "from 0 to 10000"},
		{"tailLines", "10001", "from 0 to 10000"},
		{"limitBytes", "0", "from 1 to 16777216"},
		{"limitBytes", "99999999999999999999", "from 1 to 16777216"},
		{"sinceSeconds", "0", "from 1"},
		{"sinceSeconds", "1h", "must be a number"},
		{"sinceTime", "yesterday", "must be a time"},
		{"follow", "yes", "must be true or false"},
		{"timestamps", "2", "must be true or false"},
		{"previous", "true", "has all of its runs"},
		{"container", "sidecar", "one container"},
		{"stream", "Stdin", "must be All, Stdout or Stderr"},
	} {
		_, err := a.log("default", "nobody", url.Values{c.parameter: {c.value}})
		require.True(t, apierrors.IsBadRequest(err), "%s=%s: %v", c.parameter, c.value, err)
		require.ErrorContains(t, err, c.parameter+": Invalid value")
		require.ErrorContains(t, err, c.detail)
	}
	_, err := a.log("default", "nobody", url.Values{"sinceSeconds": {"5"}, "sinceTime": {"2026-11-25T16:00:00Z"}})
	require.ErrorContains(t, err, "sinceSeconds is given, too")
	err = a.request("POST", "default", "nobody", "log", nil).Do(t.Context()).Error()
	require.True(t, apierrors.IsMethodNotSupported(err), "%v", err)
	err = a.request("GET", "default", "nobody", "log", nil).SetHeader("Connection", "Upgrade").SetHeader("Upgrade", "websocket").Do(t.Context()).Error()
	require.True(t, apierrors.IsBadRequest(err), "%v", err)
}

func testStats(t *testing.T, a *api) {
	namespace := a.namespace("stats")
	a.declare(namespace, "chess", "idle", "bare")
	id := a.play(namespace, "chess", enginetest.Spin)
	stats := &v1alpha1.GameRuntimeStats{}
	content, err := a.request("GET", namespace, "chess", "stats", nil).DoRaw(t.Context())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, stats))
	require.Equal(t, "runtime.galaxy.io/v1alpha1, Kind=GameRuntimeStats", stats.GroupVersionKind().String())
	require.Equal(t, id, stats.Container)
	require.Equal(t, time.Second, stats.Window.Duration)
	require.Equal(t, "500m", stats.Usage.CPU.String())
	require.Equal(t, "8Mi", stats.Usage.Memory.String())
	require.EqualValues(t, 1, stats.Usage.Pids)
	require.Equal(t, "250m", stats.Limits.CPU.String())
	require.Equal(t, "64Mi", stats.Limits.Memory.String())
	require.EqualValues(t, 100, *stats.Limits.Pids)

	a.engine.Kill(id, enginetest.Ending{})
	for name, is := range map[string]func(error) bool{
		"nobody": apierrors.IsNotFound, "bare": apierrors.IsConflict, "chess": apierrors.IsConflict,
	} {
		err := a.request("GET", namespace, name, "stats", nil).Do(t.Context()).Error()
		require.True(t, is(err), "%s: %v", name, err)
	}
}

// What an engine has to say is told in our words, and by a status to act on.
func testConsoleFailures(t *testing.T, a *api) {
	namespace := a.namespace("troubled")
	a.declare(namespace, "chess")
	a.play(namespace, "chess")
	for kind, code := range map[engine.Kind]int{
		engine.NotFound: http.StatusConflict, engine.NotRunning: http.StatusConflict, engine.Timeout: http.StatusGatewayTimeout,
		engine.Unreachable: http.StatusServiceUnavailable, engine.Failed: http.StatusInternalServerError,
	} {
		for verb, subresource := range map[string]string{"Output": "log", "Usage": "stats"} {
			mend := a.engine.Inject(enginetest.Fault{Verb: verb, Kind: kind})
			err := a.request("GET", namespace, "chess", subresource, nil).Do(t.Context()).Error()
			mend()
			var status apierrors.APIStatus
			require.ErrorAs(t, err, &status)
			require.EqualValues(t, code, status.Status().Code, "%s: %v", kind, err)
			require.NotContains(t, err.Error(), "injected", "what is inside stays inside")
		}
	}
	_, _, err := a.run(webSocket, namespace, "chess", nil, enginetest.GamePath, enginetest.Exit, "0")
	require.NoError(t, err)
	defer a.engine.Inject(enginetest.Fault{Verb: "Run", Kind: engine.Unreachable})()
	_, _, err = a.run(webSocket, namespace, "chess", nil, enginetest.GamePath, enginetest.Exit, "0")
	require.EqualError(t, err, "the engine does not answer; try again soon")
}

func testConsoleDiscovery(t *testing.T, a *api) {
	client, err := kubernetes.NewForConfig(a.admin)
	require.NoError(t, err)
	list, err := client.Discovery().ServerResourcesForGroupVersion("runtime.galaxy.io/v1alpha1")
	require.NoError(t, err)
	verbs := map[string]metav1.Verbs{}
	for _, resource := range list.APIResources {
		verbs[resource.Name] = resource.Verbs
	}
	require.Equal(t, metav1.Verbs{"get"}, verbs["gameruntimes/log"])
	require.Equal(t, metav1.Verbs{"create", "get"}, verbs["gameruntimes/exec"])
	require.Equal(t, metav1.Verbs{"get"}, verbs["gameruntimes/stats"])
}

// A server that stops waits for nobody who reads on, and says why.
func TestSessionsEndWithTheServer(t *testing.T) {
	a := start(t, openStore(t, store.Options{Pool: postgrestest.Schema(t)}), filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", config.CRDs)
	a.declare("default", "chess")
	a.play("default", "chess")
	stream, err := a.request("GET", "default", "chess", "log", url.Values{"follow": {"true"}}).Stream(t.Context())
	require.NoError(t, err)
	input, typed := io.Pipe()
	defer typed.Close()
	ended := make(chan error, 1)
	go func() {
		_, _, err := a.run(webSocket, "default", "chess", input, enginetest.GamePath, enginetest.Echo)
		ended <- err
	}()
	require.Eventually(t, func() bool { return a.engine.open.Load() == 2 }, patience, time.Millisecond)
	begin := time.Now()
	a.stop()
	require.Less(t, time.Since(begin), drainTimeout/2)
	require.EqualError(t, <-ended, "the manager stops")
	_, err = io.ReadAll(stream)
	require.NoError(t, err)
	a.awaitClosed()
}

// There is a bound on what lasts, and one on logs is none on programs.
func TestSessionsAreCounted(t *testing.T) {
	c := newConsole(Options{Console: &Console{}}, nil, nil, t.Context())
	request := func() *http.Request { return httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil) }
	ends := []context.CancelCauseFunc{}
	for range maxLogs {
		_, end, err := c.session(request(), c.logs)
		require.NoError(t, err)
		ends = append(ends, end)
	}
	_, err := c.output(request(), types.NamespacedName{})
	require.True(t, apierrors.IsTooManyRequests(err), "%v", err)
	_, _, err = c.session(request(), c.programs)
	require.NoError(t, err)
	ends[0](nil)
	require.Eventually(t, func() bool { return len(c.logs) < maxLogs }, patience, time.Millisecond)
	_, _, err = c.session(request(), c.logs)
	require.NoError(t, err)
}
