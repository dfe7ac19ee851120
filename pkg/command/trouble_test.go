package command

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

// happening is what becomes of a request.
type happening func(*http.Request, http.RoundTripper) (*http.Response, error)

// trouble is a connection on which the first calls of a method go wrong.
type trouble struct {
	http.RoundTripper
	method string
	left   atomic.Int32
	happen happening
}

func (tr *trouble) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != tr.method || tr.left.Add(-1) < 0 {
		return tr.RoundTripper.RoundTrip(req)
	}
	return tr.happen(req, tr.RoundTripper)
}

// inTrouble is a Commander with such a connection.
func (d *desk) inTrouble(method string, times int32, happen happening) *Commander {
	tr := &trouble{method: method, happen: happen}
	tr.left.Store(times)
	config := d.server.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		tr.RoundTripper = next
		return tr
	})
	return New(client(d.t, config), "trouble")
}

func saying(code int) happening {
	return func(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Request: req, Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader("trouble at 127.0.0.1")),
		}, nil
	}
}

func refusedConnection(*http.Request, http.RoundTripper) (*http.Response, error) {
	return nil, errors.New("dial tcp 127.0.0.1:7443: connect: connection refused")
}

// lostAnswer lets a request have its effect, and nobody hear of it.
func lostAnswer(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	response, err := next.RoundTrip(req)
	if err == nil {
		_ = response.Body.Close() // nobody reads it
	}
	return nil, errors.New("read tcp 127.0.0.1:7443: connection reset by peer")
}

func hangs(req *http.Request, _ http.RoundTripper) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func testTrouble(t *testing.T, d *desk) {
	answers := map[string]happening{
		"429": saying(429), "500": saying(500), "503": saying(503), "504": saying(504), "refused": refusedConnection, "lost": lostAnswer,
	}
	for name, happen := range answers {
		for _, method := range []string{http.MethodGet, http.MethodPatch} {
			t.Run(method+" for a moment: "+name, func(t *testing.T) {
				before := d.start().Accepted.Generation
				answer, err := d.inTrouble(method, 2, happen).Restart(t.Context(), Restart{Wish: of(master)})
				require.NoError(t, err)
				require.Empty(t, answer.ErrorCode)
				require.Equal(t, before+1, d.record().Generation, "restarted once")
			})
		}
	}
	for name, happen := range answers {
		t.Run("while somebody waits: "+name, func(t *testing.T) {
			answer, err := d.Restart(t.Context(), Restart{Wish: of(master)})
			require.NoError(t, err)
			waits := &desk{Commander: d.inTrouble(http.MethodGet, 3, happen), t: t}
			a := waits.await(t.Context(), answer)
			next(t, a.seen)
			d.tell(running(answer.Accepted.Generation))
			require.Equal(t, Result{Outcome: Success, OperationID: "o1"}, next(t, a.result))
		})
	}
	answers["hangs"] = hangs
	for name, happen := range answers {
		t.Run("for long: "+name, func(t *testing.T) {
			troubled := d.inTrouble(http.MethodGet, 1000, happen)
			troubled.patience = 200 * time.Millisecond
			_, err := troubled.Restart(t.Context(), Restart{Wish: of(master)})
			refusedWith(t, err, v1alpha1.CodeServiceUnavailable, "")
			e := errorOf(t, err)
			require.True(t, e.Retryable)
			require.NotContains(t, e.Message, "127.0.0.1", "nobody learns where we look for it")
		})
	}
}

func TestServerAway(t *testing.T) {
	server := apiservertest.Start(t)
	d := newDesk(t, server, "default")
	d.start()
	server.Stop()
	d.patience = 200 * time.Millisecond
	_, err := d.Stop(t.Context(), of(lobby))
	refusedWith(t, err, v1alpha1.CodeServiceUnavailable, "")
	require.True(t, errorOf(t, err).Retryable)
}
