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

// count counts the tags that were looked up with success. An engine then asks for
// what it does not have, by digest.
func (r *Registry) count(answer *http.Response) error {
	asked := answer.Request
	read := asked.Method == http.MethodGet || asked.Method == http.MethodHead
	_, tag, manifest := strings.Cut(asked.URL.Path, "/manifests/")
	if read && answer.StatusCode == http.StatusOK && manifest && !strings.Contains(tag, ":") {
		r.pulls.Add(1)
	}
	return nil
}
