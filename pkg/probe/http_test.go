package probe

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

func TestHeaders(t *testing.T) {
	type sent struct{ host, agent, accept, token string }
	for name, c := range map[string]struct {
		headers []v1alpha1.HTTPHeader
		want    sent
	}{
		"ours": {nil, sent{agent: "runtime-manager-probe", accept: "*/*"}},
		"the record's replace ours": {
			[]v1alpha1.HTTPHeader{{Name: "user-agent", Value: "referee/1"}, {Name: "accept", Value: "text/plain"}},
			sent{agent: "referee/1", accept: "text/plain"},
		},
		"or leave them out": {[]v1alpha1.HTTPHeader{{Name: "User-Agent"}}, sent{accept: "*/*"}},
		"Host names the virtual host": {
			[]v1alpha1.HTTPHeader{{Name: "host", Value: "chess.example"}},
			sent{host: "chess.example", agent: "runtime-manager-probe", accept: "*/*"},
		},
		"one may come twice": {
			[]v1alpha1.HTTPHeader{{Name: "X-Token", Value: "a"}, {Name: "x-token", Value: "b"}},
			sent{agent: "runtime-manager-probe", accept: "*/*", token: "a b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got sent
			target, port := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				got = sent{r.Host, r.UserAgent(), r.Header.Get("Accept"), strings.Join(r.Header["X-Token"], " ")}
			})
			action := v1alpha1.HTTPGetAction{Path: "/", Port: port, HTTPHeaders: c.headers}
			require.NoError(t, CheckHTTP(t.Context(), target.Address, action))
			if c.want.host == "" {
				c.want.host = join(target.Address, port)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestACertificateIsNotVerified(t *testing.T) {
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "chess.example", r.Host)
		w.WriteHeader(http.StatusNoContent)
	}))
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	t.Cleanup(web.Close)
	target, port := targetAt(t, web.Listener.Addr())
	action := v1alpha1.HTTPGetAction{
		Path: "/", Port: port, Scheme: "HTTPS", HTTPHeaders: []v1alpha1.HTTPHeader{{Name: "Host", Value: "chess.example"}},
	}
	require.NoError(t, CheckHTTP(t.Context(), target.Address, action))
	action.Scheme = "HTTP"
	require.EqualError(t, CheckHTTP(t.Context(), target.Address, action), "GET / answered 400", "TLS is spoken here")
}

func TestRedirects(t *testing.T) {
	other, otherPort := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	t.Cleanup(secure.Close)
	answers := map[string]string{ // where each path leads
		"/relative":  "/502",
		"/port":      fmt.Sprintf("http://%s/", join(other.Address, otherPort)),
		"/scheme":    secure.URL,
		"/elsewhere": "http://elsewhere.example/502",
		"/name":      fmt.Sprintf("http://localhost:%d/", otherPort),
		"/round":     "/round",
		"/nowhere":   "",
		"/nonsense":  "http://%zz/",
		"/mail":      "mailto:referee@elsewhere.example",
	}
	for i := range 11 {
		answers[fmt.Sprintf("/%d-more", i+1)] = fmt.Sprintf("/%d-more", i)
	}
	var agent, host string
	target, port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		agent, host = r.UserAgent(), r.Host
		switch location, leads := answers[r.URL.Path]; {
		case leads:
			w.Header()["Location"] = []string{location}
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/502":
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	for path, want := range map[string]string{
		"/relative":  "GET /relative answered 502",
		"/port":      "GET /port answered 418",
		"/scheme":    "GET /scheme answered 410",
		"/elsewhere": "",
		"/name":      "",
		"/mail":      "",
		"/nowhere":   "",
		"/10-more":   "",
		"/11-more":   "redirected more than 10 times",
		"/round":     "redirected more than 10 times",
		"/nonsense":  `failed to parse Location header "http://%zz/": parse "http://%zz/": invalid URL escape "%zz"`,
	} {
		t.Run(path, func(t *testing.T) {
			action := v1alpha1.HTTPGetAction{Path: path, Port: port, HTTPHeaders: []v1alpha1.HTTPHeader{{Name: "Host", Value: "chess.example"}}}
			err := CheckHTTP(t.Context(), target.Address, action)
			require.Equal(t, "runtime-manager-probe", agent)
			require.Equal(t, "chess.example", host, "the virtual host goes along")
			if want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, want)
		})
	}
}

// TestAnswersAsGamesGiveThem is about the wire: what a server writes before it
// closes the connection.
func TestAnswersAsGamesGiveThem(t *testing.T) {
	for _, c := range []struct{ name, wire, want string }{
		{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
		{"no length", "HTTP/1.1 200 OK\r\n\r\nok", ""},
		{"no body", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok", ""},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", ""},
		{"a head start", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ""},
		{"another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chess\r\n\r\n", "GET / answered 101"},
		{"more than is read", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 4*answerLimit), ""},
		{"a body that breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", "the answer breaks off"},
		{"chunks that break off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\no", "the answer breaks off"},
		{"a head that breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "the answer breaks off"},
		{"nothing", "", "the answer breaks off"},
		{"a head start without end", strings.Repeat("HTTP/1.1 103 Early Hints Now\r\n\r\n", answerLimit), "the answer breaks off"},
		{"a head too long", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", answerLimit) + "\r\n", "the answer breaks off"},
		{"a line without end", "HTTP/1.1 200 " + strings.Repeat("x", 4*answerLimit), "the answer breaks off"},
		{"no HTTP", "welcome to chess\r\n\r\n", `malformed HTTP status code "to"`},
		{"no HTTP, at length", strings.Repeat("x", 1000) + "\r\n\r\n", `malformed HTTP response "` + strings.Repeat("x", maxMessage-25) + "…"},
		{"no chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok\r\n", "invalid byte in chunk length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, port := speak(t, c.wire)
			err := CheckHTTP(t.Context(), target.Address, v1alpha1.HTTPGetAction{Path: "/", Port: port})
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
		})
	}
}

// speak reads a request, writes what it is told to and closes the connection.
func speak(t *testing.T, wire string) (Target, int32) {
	return accept(t, func(conn net.Conn) {
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 4096)); err == nil {
			_, _ = conn.Write([]byte(wire)) // it may be more than anybody reads
		}
	})
}

// accept gives a game each connection that is made to it.
func accept(t *testing.T, game func(net.Conn)) (Target, int32) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			game(conn)
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		<-done
	})
	return targetAt(t, listener.Addr())
}

func TestTheConnectionIsLetGo(t *testing.T) {
	for name, wire := range map[string]string{
		"by a game that says all":  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"by one that never ends":   "HTTP/1.1 200 OK\r\n\r\nok",
		"by one that never begins": "",
	} {
		for _, scheme := range []string{"HTTP", "HTTPS"} {
			t.Run(name+", "+scheme, func(t *testing.T) {
				gone := make(chan struct{}, 1)
				target, port := accept(t, func(conn net.Conn) {
					defer conn.Close()
					buffer := make([]byte, 4096)
					_, _ = conn.Read(buffer)
					_, _ = conn.Write([]byte(wire))
					for {
						if _, err := conn.Read(buffer); err != nil { // it is closed on the other side
							gone <- struct{}{}
							return
						}
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_ = CheckHTTP(ctx, target.Address, v1alpha1.HTTPGetAction{Path: "/", Port: port, Scheme: scheme})
				awaitOne(t, gone)
			})
		}
	}
}

func TestACheckEndsWithItsContext(t *testing.T) {
	target, port := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	require.Error(t, CheckHTTP(ctx, target.Address, v1alpha1.HTTPGetAction{Path: "/", Port: port}))
}
