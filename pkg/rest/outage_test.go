package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// outOfReach is a replica from which the records cannot be reached, and a change
// that was asked of it.
type outOfReach struct {
	*bench
	start <-chan answered
}

// beginOutOfReach makes the request at once: it is insisted on for a while.
func (b *bench) beginOutOfReach() {
	b.t.Helper()
	config := b.api.Config()
	config.Host = "127.0.0.1:9" // nobody is there
	nowhere, err := dynamic.NewForConfig(config)
	require.NoError(b.t, err)
	away := b.replica(func(o *Options) { o.Commander = command.New(nowhere, "default") })
	b.away = &outOfReach{away, away.later("POST", "/runtimes/away/start?wait=15s", startBody, key("away"))}
}

// While the records cannot be reached nothing is taken, and the same request may
// be made again.
func testRecordsOutOfReach(b *bench) {
	away := b.away.in(b.t)
	for _, path := range []string{"/runtimes", "/runtimes/away"} {
		got := away.do("GET", path).is(b.t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
		require.Equal(b.t, "1", got.header.Get("Retry-After"))
		require.NotContains(b.t, string(got.body), "127.0.0.1", "no address of ours")
	}
	got := (<-b.away.start).is(b.t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
	require.Equal(b.t, "1", got.header.Get("Retry-After"))
	require.Nil(b.t, got.Runtime)
	b.start("away", key("away")).is(b.t, http.StatusAccepted, "")
}

// Without the kept answers nobody knows whether a request was made before.
func testAnswersOutOfReach(b *bench) {
	closed := postgrestest.Schema(b.t)
	closed.Close()
	b = b.replica(func(o *Options) { o.Answers = journal.NewAnswers(closed) })
	got := b.start("forgotten", key("k")).is(b.t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
	require.Equal(b.t, "1", got.header.Get("Retry-After"))
	b.do("GET", "/runtimes/forgotten").is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.start("forgotten").is(b.t, http.StatusAccepted, "")
}

// Who waits when a server stops is told that the wish stands, and finds out from
// another one.
func testStopWhileSomebodyWaits(b *bench) {
	other := b.replica(nil)
	start := other.later("POST", "/runtimes/moved/start?wait=1m", startBody, key("moved"))
	b.asks("moved", declared)
	other.stop()
	got := (<-start).is(b.t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
	require.Equal(b.t, "Running", got.Runtime.State)

	again := b.later("POST", "/runtimes/moved/start?wait=1m", startBody, key("moved"))
	b.waits("moved", 1)
	b.tell("moved", running)
	require.Equal(b.t, got.Runtime.Generation, (<-again).is(b.t, http.StatusOK, "").Runtime.Generation)
}

// Nothing new can be declared where all is being deleted.
func testNamespaceEnds(b *bench) {
	b.namespace = b.api.Namespace(b.t, "ending")
	b = b.replica(nil)
	b.start("last")
	b.keep("last")
	clients, err := kubernetes.NewForConfig(b.api.Config())
	require.NoError(b.t, err)
	require.NoError(b.t, clients.CoreV1().Namespaces().Delete(context.Background(), "ending", metav1.DeleteOptions{}))
	b.start("next").is(b.t, http.StatusForbidden, v1alpha1.CodeForbidden)
	b.letGo("last")
}

// An error of ours tells nobody how it came about, but for the log.
func testPanic(b *bench) {
	var logged string
	s := &Server{metrics: newMetrics(nil), log: funcr.NewJSON(func(line string) { logged += line }, funcr.Options{})}
	failing := s.around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("in /srv/secret") }))
	for _, operation := range []struct{ method, path string }{{"GET", "/runtimes/chess"}, {"POST", "/runtimes/chess/stop"}} {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(context.Background(), operation.method, root+operation.path, nil)
		r.Header.Set(headerRequestID, "turn-7")
		r.Header.Set(headerCaller, "lobby")
		failing.ServeHTTP(w, r)
		got := answered{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		promise.hold(b.t, r, "", got)
		require.NoError(b.t, json.Unmarshal(got.body, &got.Answer))
		got.is(b.t, http.StatusInternalServerError, v1alpha1.CodeInternalError).says(b.t, "turn-7")
		require.NotContains(b.t, string(got.body), "secret")
	}
	require.Contains(b.t, logged, "/srv/secret")
	require.Contains(b.t, logged, "turn-7")
	require.Contains(b.t, logged, "outage_test.go", "the stack")
}

// Each code has its status, and the contract has them together.
func TestEachCodeHasAStatus(t *testing.T) {
	for _, c := range v1alpha1.Codes {
		require.Contains(t, statuses, c.Code)
	}
	require.Len(t, statuses, len(v1alpha1.Codes)+1, "and none")
}
