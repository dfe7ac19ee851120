package rest

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

const (
	image    = "galaxy/demo-game:1.0.0"
	newer    = "galaxy/demo-game:1.0.1"
	patience = 20 * time.Second
)

func TestMain(m *testing.M) { apiservertest.Main(m) }

// bench is the API on a real API server and PostgreSQL, with nobody who carries
// out what the records say: a test tells their status by hand.
type bench struct {
	t         testing.TB
	api       *apiservertest.Server
	client    dynamic.Interface
	namespace string
	answers   journal.Answers
	url       string
	server    *Server
	stop      func()
	away      *outOfReach
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, api: apiservertest.Start(t), answers: journal.NewAnswers(postgrestest.Schema(t)), namespace: "default"}
	var err error
	b.client, err = dynamic.NewForConfig(b.api.Config())
	require.NoError(t, err)
	return b.replica(nil)
}

// replica is another one on the same records.
func (b *bench) replica(change func(*Options)) *bench {
	b.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	options := Options{
		Listener: listener, Commander: command.New(b.client, b.namespace), Namespace: b.namespace, Informer: informer(b.t, ctx, b.client),
		Answers: b.answers, Log: logr.Discard(),
	}
	if change != nil {
		change(&options)
	}
	server, err := New(options)
	require.NoError(b.t, err)
	done := make(chan error, 1)
	go func() { done <- server.Start(ctx) }()
	other, stopped := *b, false
	other.url, other.server = "http://"+listener.Addr().String()+root, server
	other.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(b.t, <-done)
		}
	}
	b.t.Cleanup(other.stop)
	return &other
}

// in is the same, seen from a subtest.
func (b *bench) in(t testing.TB) *bench {
	other := *b
	other.t = t
	return &other
}

func (b *bench) records() dynamic.ResourceInterface {
	return b.client.Resource(command.Records).Namespace(b.namespace)
}

func (b *bench) finalizers(game, names string) {
	b.t.Helper()
	_, err := b.records().Patch(context.Background(), game, types.MergePatchType, []byte(`{"metadata":{"finalizers":`+names+`}}`), metav1.PatchOptions{})
	require.NoError(b.t, err)
}

// informer stands for the manager's.
func informer(t testing.TB, ctx context.Context, client dynamic.Interface) cache.SharedIndexInformer {
	t.Helper()
	shared := dynamicinformer.NewFilteredDynamicInformer(client, command.Records, "", 0, cache.Indexers{}, nil).Informer()
	require.NoError(t, shared.SetTransform(func(object any) (any, error) {
		stored, ok := object.(*unstructured.Unstructured)
		if !ok {
			return object, nil
		}
		record := &v1alpha1.GameRuntime{}
		return record, runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, record)
	}))
	go shared.Run(ctx.Done())
	require.True(t, cache.WaitForCacheSync(ctx.Done(), shared.HasSynced))
	return shared
}

// asked is a request, and what is to be sent with it.
type asked struct {
	method, path, body string
	header             http.Header
}

type option func(*asked)

func by(caller string) option { return with(headerCaller, caller) }
func key(key string) option   { return with(headerKey, key) }
func body(body string) option { return func(a *asked) { a.body = body } }

func with(name, value string) option {
	return func(a *asked) { a.header[http.CanonicalHeaderKey(name)] = []string{value} }
}

// answered is what came back.
type answered struct {
	Answer
	list   ListAnswer
	status int
	header http.Header
	body   []byte
}

// do makes a request as the lobby, and holds it and its answer against the contract.
func (b *bench) do(method, path string, options ...option) answered {
	b.t.Helper()
	answer, err := b.try(method, path, options...)
	require.NoError(b.t, err)
	return answer
}

func (b *bench) try(method, path string, options ...option) (answered, error) {
	b.t.Helper()
	a := &asked{method: method, path: path, header: http.Header{headerCaller: {"lobby"}}}
	for _, o := range options {
		o(a)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, a.method, b.url+a.path, strings.NewReader(a.body))
	require.NoError(b.t, err)
	request.Header, request.Host = a.header, a.header.Get("Host")
	if a.body != "" && request.Header.Get("Content-Type") == "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	got := answered{status: response.StatusCode, header: response.Header}
	if got.body, err = io.ReadAll(response.Body); err != nil {
		return answered{}, err
	}
	promise.hold(b.t, request, a.body, got)
	if response.Header.Get("Content-Type") == "application/json" && len(got.body) > 0 {
		require.NoError(b.t, json.Unmarshal(got.body, &got.Answer), "%s", got.body)
		_ = json.Unmarshal(got.body, &got.list) // one of them fits
	}
	return got, nil
}

// is says what an answer is to be.
func (a answered) is(t testing.TB, status int, code string) answered {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	require.Equal(t, code, a.Result.ErrorCode, "%s", a.body)
	return a
}

func (a answered) says(t testing.TB, message string) answered {
	t.Helper()
	require.Contains(t, a.Result.Message, message)
	return a
}

func (b *bench) start(game string, options ...option) answered {
	b.t.Helper()
	return b.do("POST", "/runtimes/"+game+"/start", append([]option{body(`{"image":"` + image + `"}`)}, options...)...)
}

// asks waits until a game's record says so.
func (b *bench) asks(game string, so func(*v1alpha1.GameRuntime) bool) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		record, err := b.server.commander.Get(context.Background(), game)
		return err == nil && so(record)
	}, patience, 5*time.Millisecond)
}

// tell writes a record's status as the reconciler would.
func (b *bench) tell(game string, status func(*v1alpha1.GameRuntime)) {
	b.t.Helper()
	require.EventuallyWithT(b.t, func(c *collect) {
		stored, err := b.records().Get(context.Background(), game, metav1.GetOptions{})
		require.NoError(c, err)
		record := &v1alpha1.GameRuntime{}
		require.NoError(c, runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, record))
		record.Status.ObservedGeneration = record.Generation
		status(record)
		told, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": stored.GetResourceVersion()}, "status": record.Status})
		require.NoError(c, err)
		_, err = b.records().Patch(context.Background(), game, types.MergePatchType, told, metav1.PatchOptions{}, "status")
		require.NoError(c, err)
	}, patience, 10*time.Millisecond)
}

// running is the status of a game that runs as it is declared.
func running(g *v1alpha1.GameRuntime) {
	now := metav1.Now()
	g.Status.Phase, g.Status.Pending, g.Status.Drift = v1alpha1.PhaseRunning, nil, nil
	g.Status.Container = &v1alpha1.ContainerStatus{
		ID: "c-1", Image: g.Spec.Image, State: v1alpha1.ContainerRunning, StartedBy: "op-start", Endpoint: "http://" + g.Name + ":8080",
		HostPorts: map[string]int32{"http": 32001}, StartedAt: &metav1.MicroTime{Time: now.Time},
	}
	reachable(g)
}

// stopped is that of one that was stopped.
func stopped(g *v1alpha1.GameRuntime) {
	now := metav1.NowMicro()
	g.Status.Phase, g.Status.Pending = v1alpha1.PhaseStopped, nil
	g.Status.Container = &v1alpha1.ContainerStatus{ID: "c-1", Image: g.Spec.Image, State: v1alpha1.ContainerStopped}
	g.Status.LastTermination = &v1alpha1.Termination{
		Reason: v1alpha1.TerminationStoppedByUs, Operation: "op-stop", ContainerID: "c-1", FinishedAt: &now,
	}
	reachable(g)
}

// waiting is that of one for which something failed, or holds it up.
func waiting(reason, message string, failures int32) func(*v1alpha1.GameRuntime) {
	return func(g *v1alpha1.GameRuntime) {
		g.Status.Phase = v1alpha1.PhasePending
		g.Status.Pending = &v1alpha1.Pending{Reason: reason, Message: message, Failures: failures, Since: metav1.Now()}
		reachable(g)
	}
}

func reachable(g *v1alpha1.GameRuntime) {
	g.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionEngineReachable, Status: metav1.ConditionTrue, Reason: "Reachable", LastTransitionTime: metav1.Now(),
	}}
}

// waits waits until so many callers wait for a game.
func (b *bench) waits(game string, callers int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		watch := b.server.watch
		watch.mu.Lock()
		defer watch.mu.Unlock()
		return len(watch.sights[game]) == callers
	}, patience, time.Millisecond)
}
