package registrytest

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// Open lets clients come in at Host.
func (r *Registry) Open() {
	r.t.Helper()
	listener, err := net.Listen("tcp4", r.Host)
	require.NoError(r.t, err)
	r.Host = listener.Addr().String()
	quiet := log.New(io.Discard, "", 0) // an engine tries TLS first
	door := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: quiet, Handler: &httputil.ReverseProxy{
		Transport: r.transport, ErrorLog: quiet, ModifyResponse: r.count,
		Rewrite: func(p *httputil.ProxyRequest) { p.Out.URL.Scheme, p.Out.URL.Host = "http", r.Host },
	}}
	r.door = door
	go func() { _ = door.Serve(listener) }() // until it is shut
}

// Shut keeps clients out, as a registry that is down does.
func (r *Registry) Shut() {
	_ = r.door.Close() // cuts off who is there
	r.transport.CloseIdleConnections()
}

func (r *Registry) count(answer *http.Response) error {
	asked := answer.Request
	if answer.StatusCode == http.StatusOK && asked.Method == http.MethodGet && strings.Contains(asked.URL.Path, "/manifests/") {
		r.manifests.Add(1)
	}
	return nil
}
