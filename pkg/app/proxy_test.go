//go:build integration

package app

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// engineSocket is where the real engine listens.
const engineSocket = "/var/run/docker.sock"

// proxy stands between a manager and the real engine, and fails on demand.
type proxy struct {
	t    *testing.T
	path string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	// held is a part of a path: requests to it are taken and never answered.
	held     string
	heldSeen chan struct{}
	// deaf swallows what event streams say.
	deaf bool
}

func startProxy(t *testing.T) *proxy {
	p := &proxy{t: t, path: filepath.Join(t.TempDir(), "docker.sock"), conns: map[net.Conn]bool{}, heldSeen: make(chan struct{}, 100)}
	p.mend()
	t.Cleanup(p.cut)
	return p
}

// cut closes the socket and every connection: the engine is gone.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = map[net.Conn]bool{}
}

// mend opens the socket again.
func (p *proxy) mend() {
	listener, err := net.Listen("unix", p.path)
	require.NoError(p.t, err)
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
}

// hold swallows requests whose path contains part, from now on.
func (p *proxy) hold(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = part
}

// swallowEvents loses what the engine says on its event streams, which stand,
// from now on.
func (p *proxy) swallowEvents(swallow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = swallow
}

func (p *proxy) isDeaf() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf
}

// answer forwards what the engine says on one connection.
func (p *proxy) answer(client io.WriteCloser, upstream io.Reader, events *atomic.Bool) {
	defer client.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := upstream.Read(buffer)
		if n > 0 && (!events.Load() || !p.isDeaf()) {
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

// serve forwards one connection, request by request, so that one can be held.
func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	p.track(client)
	upstream, err := net.Dial("unix", engineSocket)
	if err != nil {
		return
	}
	defer upstream.Close()
	p.track(upstream)
	var events atomic.Bool // it carries an event stream, and nothing else from then on
	go p.answer(client, upstream, &events)
	reader := bufio.NewReader(client)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if p.holds(request.URL) {
			p.heldSeen <- struct{}{}
			_, _ = io.Copy(io.Discard, reader) // until the client gives up
			return
		}
		events.Store(strings.HasSuffix(request.URL.Path, "/events"))
		request.URL.Scheme, request.URL.Host = "", ""
		if err := request.Write(upstream); err != nil {
			return
		}
	}
}

func (p *proxy) holds(u *url.URL) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held != "" && strings.Contains(u.Path, p.held)
}

func listen(t *testing.T) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}
