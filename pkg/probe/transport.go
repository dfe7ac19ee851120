package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// answerLimit is how much of an answer is taken off the wire, its head and the
// frame of its body included.
const answerLimit = 128 << 10

// oneShot is a transport of one request a connection: that it can be opened is
// part of what is checked. The one of net/http is made for connections that are
// kept, and takes two goroutines and thrice the memory for each. The manager's own
// proxy is none of the game's business, and neither is a certificate: it is the
// game that is asked for, and not who it is.
type oneShot struct{ tls *tls.Config }

// buffers are what a request is made in, and an answer is read through.
type buffers struct {
	request bytes.Buffer
	answer  *bufio.Reader
}

var spare = sync.Pool{New: func() any { return &buffers{answer: bufio.NewReader(nil)} }}

// RoundTrip is that of an http.RoundTripper. The answer's body must be closed.
func (o *oneShot) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	conn, err := dialer.DialContext(ctx, "tcp", request.URL.Host)
	if err != nil {
		return nil, err
	}
	raw := conn
	watch := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) }) // breaks off what is under way
	if request.URL.Scheme == "https" {
		conn = tls.Client(conn, o.tls)
	}
	with := spare.Get().(*buffers)
	end := sync.OnceFunc(func() {
		watch()
		_ = conn.Close()
		spare.Put(with)
	})
	answer, err := exchange(conn, request, with)
	if err != nil {
		end()
		return nil, err
	}
	// The body's own Close would read what is left of it.
	answer.Body = struct {
		io.Reader
		closing
	}{answer.Body, end}
	return answer, nil
}

type closing func()

// Close lets the connection go.
func (c closing) Close() error {
	c()
	return nil
}

// exchange sends a request and reads the head of its answer. What a game says
// before its answer, such as 103, is passed over.
func exchange(conn net.Conn, request *http.Request, with *buffers) (*http.Response, error) {
	with.request.Reset()
	if err := request.Write(&with.request); err != nil {
		return nil, err
	}
	if _, err := conn.Write(with.request.Bytes()); err != nil {
		return nil, err
	}
	with.answer.Reset(io.LimitReader(conn, answerLimit))
	for {
		answer, err := http.ReadResponse(with.answer, request)
		if err != nil || answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, err
		}
	}
}
