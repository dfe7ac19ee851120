package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// serve serves a game for the test, and returns its target and port.
func serve(t *testing.T, game http.HandlerFunc) (Target, int32) {
	web := httptest.NewServer(game)
	t.Cleanup(web.Close)
	return targetAt(t, web.Listener.Addr())
}

func targetAt(t *testing.T, address net.Addr) (Target, int32) {
	host, text, err := net.SplitHostPort(address.String())
	require.NoError(t, err)
	port, err := strconv.ParseInt(text, 10, 32)
	require.NoError(t, err)
	return Target{Game: chess, Instance: "run-1", Address: host, StartedAt: time.Now()}, int32(port)
}

func httpGet(path string, port int32) v1alpha1.Probe {
	return v1alpha1.Probe{HTTPGet: &v1alpha1.HTTPGetAction{Path: path, Port: port}}
}

func tcp(port int32) v1alpha1.Probe {
	return v1alpha1.Probe{TCPSocket: &v1alpha1.TCPSocketAction{Port: port}}
}

func TestChecks(t *testing.T) {
	target, port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch code, err := strconv.Atoi(r.URL.Path[1:]); {
		case err == nil:
			w.Header().Set("Location", "http://elsewhere.example/500") // where nobody may follow
			w.WriteHeader(code)
		case r.URL.Path == "/endless":
			for chunk := make([]byte, 4096); err != nil; {
				if _, broken := w.Write(chunk); broken != nil {
					return
				}
			}
		default:
			<-r.Context().Done()
		}
	})
	closed := freePort(t)
	for _, c := range []struct {
		name string
		spec v1alpha1.Probe
		want string // of the error; empty is a success
	}{
		{"200", httpGet("/200", port), ""},
		{"204", httpGet("/204", port), ""},
		{"a redirect is an answer", httpGet("/302", port), ""},
		{"399", httpGet("/399", port), ""},
		{"400", httpGet("/400", port), "GET /400 answered 400"},
		{"503", httpGet("/503", port), "GET /503 answered 503"},
		{"a body without end", httpGet("/endless", port), ""},
		{"no answer", httpGet("/hangs", port), "no answer in time"},
		{"nobody listens", httpGet("/200", closed), "dial: connect: connection refused"},
		{"no path", httpGet("/%zz", port), `path "/%zz" makes no URL`},
		{"tcp", tcp(port), ""},
		{"tcp, nobody listens", tcp(closed), "dial: connect: connection refused"},
		{"nothing", v1alpha1.Probe{}, "the probe names nothing to check"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			err := checks{}.check(ctx, target, c.spec)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
		})
	}
}

// freePort is one that nobody listens on: it was just let go.
func freePort(t *testing.T) int32 {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func TestEachCheckIsAConnectionOfItsOwn(t *testing.T) {
	var kept atomic.Int32
	target, port := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if !r.Close {
			kept.Add(1)
		}
	})
	require.NoError(t, checks{}.check(context.Background(), target, httpGet("/", port)))
	require.Zero(t, kept.Load())
}

func TestProbingForReal(t *testing.T) {
	target, port := serve(t, func(http.ResponseWriter, *http.Request) {})
	startup, readiness := httpGet("/", port), tcp(port)
	target.Probes = v1alpha1.Probes{Startup: &startup, Readiness: &readiness}
	changed := make(chan types.NamespacedName, 10)
	p := New(Options{Log: logr.Discard(), OnChange: func(name types.NamespacedName) { changed <- name }})
	runs(t, p)
	p.Watch(target, nil)
	awaitOne(t, changed)
	awaitOne(t, changed)
	for _, r := range p.Results(chess, "run-1") {
		require.Equal(t, v1alpha1.VerdictSucceeding, r.Verdict, r.Probe)
	}
}
