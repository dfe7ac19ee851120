package rest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// guarded knows people by their tokens, which are their names and what they may do.
func (b *bench) guarded(change ...func(*Options)) *bench {
	return b.replica(func(o *Options) {
		for _, c := range change {
			c(o)
		}
		o.Identify = func(r *http.Request) (Identity, bool) {
			token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			name, verbs, _ := strings.Cut(token, " ")
			return Identity{Name: name, May: func(_ context.Context, verb, _ string) bool {
				return strings.Contains(" "+verbs+" ", " "+verb+" ")
			}}, given
		}
	})
}

func as(name, verbs string) option { return with("Authorization", "Bearer "+name+" "+verbs) }

// unnamed says nothing of who asks.
func unnamed(a *asked) { delete(a.header, headerCaller) }

const everything = "get list create patch delete"

func testProof(b *bench) {
	b = b.guarded()
	for _, call := range [][2]string{
		{"GET", "/runtimes"}, {"GET", "/runtimes/proven"}, {"DELETE", "/runtimes/proven"}, {"POST", "/runtimes/proven/start"}, {"POST", "/runtimes/proven/stop"},
		{"POST", "/runtimes/proven/restart"}, {"POST", "/runtimes/proven/patch"}, {"GET", "/openapi.yaml"}, {"GET", "/openapi.json"}, {"GET", "/nothing"},
	} {
		got := b.do(call[0], call[1], by("lobby")).is(b.t, http.StatusUnauthorized, v1alpha1.CodeUnauthenticated)
		require.Equal(b.t, "Bearer", got.header.Get("WWW-Authenticate"))
	}
	b.start("proven", as("lobby", everything), by("game-master")).is(b.t, http.StatusForbidden, v1alpha1.CodeForbidden).says(b.t, "X-Galaxy-Caller")
	b.do("GET", "/runtimes/proven", as("lobby", everything), unnamed).is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	for _, said := range []option{unnamed, by("lobby")} {
		b.start("proven", as("lobby", everything), said)
		record, err := b.records().Get(context.Background(), "proven", metav1.GetOptions{})
		require.NoError(b.t, err)
		require.Equal(b.t, "galaxy-lobby", record.GetManagedFields()[0].Manager)
	}
	b.start("alices", as("Alice@example.org", everything), unnamed).is(b.t, http.StatusAccepted, "")
	record, err := b.records().Get(context.Background(), "alices", metav1.GetOptions{})
	require.NoError(b.t, err)
	require.Equal(b.t, "galaxy-"+label("Alice@example.org"), record.GetManagedFields()[0].Manager)
}

// A page that an operator looks at has their browser ask us. What it may send without
// being asked is refused, and so is a page that came by a name of ours.
func testPages(b *bench) {
	b.start("shown")
	for name, page := range map[string]option{
		"another site": with("Origin", "https://example.org"),
		"no cors":      with("Sec-Fetch-Site", "cross-site"),
		"rebound":      with("Host", "rebound.example.org:7080"),
	} {
		for _, call := range [][2]string{{"GET", "/runtimes"}, {"GET", "/runtimes/shown"}, {"GET", "/openapi.json"}, {"POST", "/runtimes/shown/stop"}, {"DELETE", "/runtimes/shown"}} {
			got := b.do(call[0], call[1], page).is(b.t, http.StatusForbidden, v1alpha1.CodeForbidden)
			require.Empty(b.t, got.header.Get("Access-Control-Allow-Origin"), name)
		}
	}
	record, err := b.records().Get(context.Background(), "shown", metav1.GetOptions{})
	require.NoError(b.t, err)
	require.Nil(b.t, record.GetDeletionTimestamp())
	state, _, err := unstructured.NestedString(record.Object, "spec", "state")
	require.NoError(b.t, err)
	require.Equal(b.t, string(v1alpha1.StateRunning), state)
	b.guarded().do("GET", "/runtimes", as("lobby", everything), with("Host", "games.example.org")).is(b.t, http.StatusOK, "") // who proves who they are
}

// Who promises a body and does not send it holds no connection, known or not.
func testSlowCallers(b *bench) {
	b = b.guarded(func(o *Options) { o.ReadTimeout = 200 * time.Millisecond })
	address, err := url.Parse(b.url)
	require.NoError(b.t, err)
	for name, c := range map[string]struct{ header, says string }{
		"known":   {"Authorization: Bearer lobby " + everything, "400 Bad Request"},
		"unknown": {"X-Galaxy-Caller: lobby", "401 Unauthorized"},
	} {
		conn, err := net.Dial("tcp", address.Host)
		require.NoError(b.t, err)
		defer conn.Close()
		require.NoError(b.t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, "POST "+root+"/runtimes/slow/start HTTP/1.1\r\nHost: localhost\r\n"+c.header+"\r\nContent-Length: 10\r\n\r\n{")
		require.NoError(b.t, err)
		answer, err := io.ReadAll(conn) // to the end of the connection
		require.NoError(b.t, err, name)
		require.Contains(b.t, string(answer), c.says, name)
	}
}

// Each call takes the rights that the same change takes over the Kubernetes API.
func testPermission(b *bench) {
	b = b.guarded()
	b.start("permitted", as("lobby", everything))
	for _, c := range []struct{ method, path, body, needs string }{
		{"GET", "/runtimes", "", "list"},
		{"GET", "/runtimes/permitted", "", "get"},
		{"POST", "/runtimes/permitted/stop", "", "patch"},
		{"POST", "/runtimes/permitted/start", "", "create patch"},
		{"POST", "/runtimes/permitted/restart", "", "patch"},
		{"POST", "/runtimes/permitted/patch", `{"image":"` + newer + `"}`, "patch"},
		{"DELETE", "/runtimes/permitted", "", "delete"},
	} {
		for needed := range strings.FieldsSeq(c.needs) {
			others := strings.Join(strings.Fields(strings.ReplaceAll(everything, needed, "")), " ")
			b.do(c.method, c.path, body(c.body), as("lobby", others)).is(b.t, http.StatusForbidden, v1alpha1.CodeForbidden).says(b.t, "lobby may not "+needed+" games")
		}
		got := b.do(c.method, c.path, body(c.body), as("lobby", c.needs))
		require.Less(b.t, got.status, 300, "%s %s as who may %s: %s", c.method, c.path, c.needs, got.body)
	}
	b.do("GET", "/openapi.json", as("lobby", "")).is(b.t, http.StatusOK, "")
	listed := func() float64 {
		return testutil.ToFloat64(b.server.metrics.requests.WithLabelValues("/runtimes", "GET", "200"))
	}
	require.Eventually(b.t, func() bool { return listed() == 1 }, patience, time.Millisecond, "requests are counted by their routes")
}

func TestNamesBecomeLabels(t *testing.T) {
	known := map[string]string{}
	for _, name := range []string{"lobby", "Lobby", "lobby.", "alice@example.org", "alice-example-org", "https://issuer.example.org#alice", "日本", "-", strings.Repeat("a", 64), strings.Repeat("a", 65)} {
		got := label(name)
		require.Empty(t, validation.IsDNS1123Label(got), name)
		require.NotContains(t, known, got, "%s is not %s", name, known[got])
		known[got] = name
	}
	require.Equal(t, "lobby", known["lobby"])
}
