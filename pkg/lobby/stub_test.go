package lobby

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// begin is when tests on a fake clock do.
var begin = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

const chess = `{"game_id": "chess", "status": "running", "engine_image": "galaxy/chess", "engine_version": "1.2.3", "players": [1, 2]}`

var theChess = GameRecord{GameID: "chess", Status: "running", EngineImage: "galaxy/chess", EngineVersion: "1.2.3"}

// stub is a Lobby that does as a test says, request by request, and the last thing
// for all further ones.
type stub struct {
	*httptest.Server
	asked atomic.Int32
}

func newStub(t *testing.T, acts ...http.HandlerFunc) *stub { return startStub(t, nil, acts...) }

// startStub also sets the server up before it starts; with TLS if that was set up.
func startStub(t *testing.T, setUp func(*httptest.Server), acts ...http.HandlerFunc) *stub {
	s := &stub{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(s.asked.Add(1))
		acts[min(n, len(acts))-1](w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if setUp != nil {
		setUp(s.Server)
	}
	if s.TLS != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// says is an answer.
func says(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = fmt.Fprint(w, body)
	}
}

// silent never answers, and is done when the client has gone.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// stuck begins an answer that it does not end.
func stuck(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprint(w, chess[:20])
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// endless writes as long as somebody listens.
func endless(w http.ResponseWriter, _ *http.Request) {
	for _, err := fmt.Fprint(w, chess); err == nil; _, err = fmt.Fprint(w, strings.Repeat(" ", 1<<10)) {
	}
}

// half breaks off in the middle of an answer.
func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(len(chess)))
	_, _ = fmt.Fprint(w, chess[:20])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// reset ends the connection without an answer.
func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// newClient makes a client of a stub whose pauses do not hold the test up.
func newClient(t *testing.T, url string, change ...func(*Options)) *Client {
	options := Options{URL: url, Backoff: time.Millisecond}
	for _, c := range change {
		c(&options)
	}
	c, err := New(options)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// pacer is a fake clock that tells of each pause before an attempt.
type pacer struct {
	*testclock.FakeClock
	pauses chan time.Duration
}

func newPacer() pacer {
	return pacer{testclock.NewFakeClock(begin), make(chan time.Duration, 10)}
}

func (p pacer) NewTimer(d time.Duration) clock.Timer {
	timer := p.FakeClock.NewTimer(d)
	p.pauses <- d
	return timer
}

// paces puts a client on the clock, with the pauses of earnest.
func (p pacer) paces(o *Options) { o.Clock, o.Backoff = p, 100*time.Millisecond }

// isAsked waits for a stub's nth request.
func (s *stub) isAsked(t *testing.T, n int32) {
	t.Helper()
	require.Eventually(t, func() bool { return s.asked.Load() == n }, patience, time.Millisecond)
}

// answer is what came of a question.
type answer struct {
	record GameRecord
	err    error
}

// asks asks for chess beside the test.
func asks(ctx context.Context, c *Client) <-chan answer {
	got := make(chan answer, 1)
	go func() {
		record, err := c.Game(ctx, "chess")
		got <- answer{record, err}
	}()
	return got
}

// receive waits for what must come.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
	}
	panic("not reached")
}

// lines collects a log, a line each.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) logger() logr.Logger {
	return funcr.New(func(_, line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, line)
	}, funcr.Options{})
}

// with returns the lines that say something.
func (l *lines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
