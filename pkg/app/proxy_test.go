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
	go func() {
		_, _ = io.Copy(client, upstream)
		_ = client.Close()
	}()
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
