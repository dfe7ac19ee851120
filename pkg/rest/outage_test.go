package rest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// While the records cannot be reached nothing is taken, and that is said at once
// for reads.
func TestRecordsOutOfReach(t *testing.T) {
	b := newBench(t, nil)
	b.api.Stop()
	for _, path := range []string{"/runtimes", "/runtimes/chess"} {
		got := b.do("GET", path).is(t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
		require.Equal(t, "1", got.header.Get("Retry-After"))
		require.NotContains(t, string(got.body), "127.0.0.1", "no address of ours")
	}
	got := b.start("chess").is(t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
	require.Nil(t, got.Runtime)
}

// Without the kept answers nobody knows whether a request was made before.
func TestAnswersOutOfReach(t *testing.T) {
	b := newBench(t, nil)
	b.pool.Close()
	got := b.start("chess", key("k")).is(t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	b.do("GET", "/runtimes/chess").is(t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.start("chess").is(t, http.StatusAccepted, "")
}

// Who waits when the server stops is told that the wish stands, and others go on.
func TestStopWhileSomebodyWaits(t *testing.T) {
	b := newBench(t, nil)
	url, server, stop := b.replica()
	start := b.later("POST", "/runtimes/chess/start?wait=1m", startBody, key("k"), at(url))
	b.asks("chess", declared)
	b.waits(server, "chess", 1)
	stop()
	got := (<-start).is(t, http.StatusServiceUnavailable, v1alpha1.CodeServiceUnavailable)
	require.Equal(t, "Running", got.Runtime.State)

	again := b.later("POST", "/runtimes/chess/start?wait=1m", startBody, key("k"))
	b.waits(b.server, "chess", 1)
	b.tell("chess", running)
	require.Equal(t, got.Runtime.Generation, (<-again).is(t, http.StatusOK, "").Runtime.Generation)
}

// Nothing new can be declared where all is being deleted.
func TestNamespaceThatIsBeingDeleted(t *testing.T) {
	b := newBench(t, nil)
	b.moveTo("ending")
	b.start("last")
	b.keep("last")
	b.endNamespace("ending")
	b.start("next").is(t, http.StatusForbidden, v1alpha1.CodeForbidden)
	b.letGo("last")
}

// An error of ours tells nobody how it came about, but for the log.
func TestPanic(t *testing.T) {
	var logged string
	s := &Server{log: funcr.NewJSON(func(line string) { logged += line }, funcr.Options{})}
	failing := s.around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("in /srv/secret") }))
	for _, operation := range []struct{ method, path string }{{"GET", "/runtimes/chess"}, {"POST", "/runtimes/chess/stop"}} {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), operation.method, root+operation.path, nil)
		r.Header.Set(headerRequestID, "turn-7")
		r.Header.Set(headerCaller, "lobby")
		failing.ServeHTTP(w, r)
		got := answered{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		promise.hold(t, r, "", got)
		require.NoError(t, json.Unmarshal(got.body, &got.Answer))
		got.is(t, http.StatusInternalServerError, v1alpha1.CodeInternalError).says(t, "turn-7")
		require.NotContains(t, string(got.body), "secret")
	}
	require.Contains(t, logged, "/srv/secret")
	require.Contains(t, logged, "turn-7")
	require.Contains(t, logged, "outage_test.go", "the stack")
}

// Each code has its status, and the contract has them together.
func TestEachCodeHasAStatus(t *testing.T) {
	for _, c := range v1alpha1.Codes {
		require.Contains(t, statuses, c.Code)
	}
	require.Len(t, statuses, len(v1alpha1.Codes)+1, "and none")
}
