package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"galaxy.io/runtime-manager/pkg/engine"
)

// pingPeriod keeps a quiet SPDY connection open; a WebSocket's is for its client
// to keep.
const pingPeriod = 30 * time.Second

// streams are those of a program, over one connection to a client.
type streams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// outcome takes a metav1.Status, at last.
	outcome io.Writer
	sizes   chan engine.TerminalSize
	close   func()
}

// tell tells how it ended.
func (s *streams) tell(status metav1.Status) {
	_ = json.NewEncoder(s.outcome).Encode(status) // the client is gone: nobody to tell
}

// converse takes the connection over, and opens the streams that are asked for.
// gone is called when the client is: the request's own context does not end any
// more. An error was answered already.
func converse(ctx context.Context, w http.ResponseWriter, req *http.Request, o execution, gone func()) (*streams, error) {
	if wsstream.IsWebSocketRequest(req) {
		return overWebSocket(ctx, w, req, o, gone)
	}
	return overSPDY(ctx, w, req, o, gone)
}

// overWebSocket numbers the streams. A client that closes the one for sizes, as
// the end of the connection does, is gone.
func overWebSocket(ctx context.Context, w http.ResponseWriter, req *http.Request, o execution, gone func()) (*streams, error) {
	channels := make([]wsstream.ChannelType, remotecommand.StreamResize+1)
	channels[remotecommand.StreamErr], channels[remotecommand.StreamResize] = wsstream.WriteChannel, wsstream.ReadChannel
	if o.stdin {
		channels[remotecommand.StreamStdIn] = wsstream.ReadChannel
	}
	if o.stdout {
		channels[remotecommand.StreamStdOut] = wsstream.WriteChannel
	}
	if o.stderr {
		channels[remotecommand.StreamStdErr] = wsstream.WriteChannel
	}
	protocol := wsstream.ChannelProtocolConfig{Binary: true, Channels: channels}
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: protocol, remotecommand.StreamProtocolV4Name: protocol, // v4 has no end of stdin
	})
	quiet := req.WithContext(klog.NewContext(req.Context(), logr.Discard())) // to the library each end is an error
	_, opened, err := conn.Open(w, quiet)
	if err != nil {
		return nil, err
	}
	s := &streams{
		stdin: opened[remotecommand.StreamStdIn], stdout: opened[remotecommand.StreamStdOut], stderr: opened[remotecommand.StreamStdErr],
		outcome: opened[remotecommand.StreamErr], sizes: make(chan engine.TerminalSize),
		close: func() { _ = conn.Close() }, // whatever it says, it is closed
	}
	go func() {
		defer gone()
		if o.tty {
			s.readSizes(ctx, opened[remotecommand.StreamResize])
		}
		_, _ = io.Copy(io.Discard, opened[remotecommand.StreamResize]) // what is no size, to its end
	}()
	return s, nil
}

// overSPDY has the client open the streams, and waits for all of them.
func overSPDY(ctx context.Context, w http.ResponseWriter, req *http.Request, o execution, gone func()) (*streams, error) {
	if _, err := httpstream.Handshake(req, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		return nil, err
	}
	wanted := o.streamTypes()
	opened := make(chan openedStream, len(wanted))
	conn := spdy.NewResponseUpgraderWithPings(pingPeriod).UpgradeResponse(w, req, func(stream httpstream.Stream, replied <-chan struct{}) error {
		select {
		case opened <- openedStream{stream, replied}:
			return nil
		default:
			return errors.New("more streams than were asked for")
		}
	})
	if conn == nil {
		return nil, errors.New("no upgrade to SPDY")
	}
	byType, err := await(ctx, wanted, opened)
	if err != nil {
		_ = conn.Close() // whatever it says, it is closed
		return nil, err
	}
	s := &streams{
		stdin: byType[corev1.StreamTypeStdin], stdout: byType[corev1.StreamTypeStdout], stderr: byType[corev1.StreamTypeStderr],
		outcome: byType[corev1.StreamTypeError], sizes: make(chan engine.TerminalSize),
		close: func() { _ = conn.Close() },
	}
	if o.tty {
		go s.readSizes(ctx, byType[corev1.StreamTypeResize])
	}
	go func() {
		select {
		case <-conn.CloseChan():
			gone()
		case <-ctx.Done():
		}
	}()
	return s, nil
}

// streamTypes are what a client of SPDY has to open.
func (o execution) streamTypes() []string {
	types := []string{corev1.StreamTypeError}
	for _, t := range []struct {
		asked bool
		name  string
	}{
		{o.stdin, corev1.StreamTypeStdin}, {o.stdout, corev1.StreamTypeStdout},
		{o.stderr, corev1.StreamTypeStderr}, {o.tty, corev1.StreamTypeResize},
	} {
		if t.asked {
			types = append(types, t.name)
		}
	}
	return types
}

// openedStream is a stream that the client opened, and was told so once replied
// is closed.
type openedStream struct {
	httpstream.Stream
	replied <-chan struct{}
}

// await collects the streams that are wanted, by their type.
func await(ctx context.Context, wanted []string, opened <-chan openedStream) (map[string]httpstream.Stream, error) {
	tooLate := time.NewTimer(remotecommand.DefaultStreamCreationTimeout)
	defer tooLate.Stop()
	byType := map[string]httpstream.Stream{}
	for range wanted {
		select {
		case stream := <-opened:
			<-stream.replied // at once, or the connection ends
			byType[stream.Headers().Get(corev1.StreamType)] = stream
		case <-tooLate.C:
			return nil, errors.New("the client did not open its streams in time")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for _, t := range wanted {
		if byType[t] == nil {
			return nil, errors.New("the client did not open its stream " + t)
		}
	}
	return byType, nil
}

// readSizes passes the terminal's sizes on, to the end of them.
func (s *streams) readSizes(ctx context.Context, from io.Reader) {
	for decoder := json.NewDecoder(from); ; {
		var size struct{ Width, Height uint16 }
		if decoder.Decode(&size) != nil {
			return
		}
		select {
		case s.sizes <- engine.TerminalSize{Columns: size.Width, Rows: size.Height}:
		case <-ctx.Done():
		}
	}
}
