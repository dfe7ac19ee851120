package apiserver

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Bounds on a log that is read, from its end.
const (
	maxLogLines = 10_000
	// maxLogBytes does not bound one that is followed.
	maxLogBytes = 16 << 20
)

// output answers with what a game wrote, as text, for as long as its container is
// kept.
func (c console) output(req *http.Request, game types.NamespacedName) (runtime.Object, error) {
	options, limit, err := logOptions(req.URL.Query(), time.Now())
	switch {
	case err != nil:
		return nil, err
	case wsstream.IsWebSocketRequest(req):
		return nil, apierrors.NewBadRequest("a log is read without WebSocket")
	}
	ctx, end, err := c.session(req, c.logs)
	if err != nil {
		return nil, err
	}
	stream, err := c.open(ctx, game, options)
	if err != nil {
		end(nil)
		return nil, err
	}
	return &logAnswer{Reader: io.LimitReader(stream, limit), follow: options.Follow, end: func() error {
		defer end(nil)
		return stream.Close()
	}}, nil
}

func (c console) open(ctx context.Context, game types.NamespacedName, options engine.OutputOptions) (io.ReadCloser, error) {
	container, err := c.container(ctx, game)
	if err != nil {
		return nil, err
	}
	stream, err := c.Engine.Output(ctx, container.ID, options)
	if err != nil {
		return nil, c.explain(err, game)
	}
	return stream, nil
}

// logOptions reads what of PodLogOptions has a meaning here, and how many bytes
// are wanted at most.
func logOptions(query url.Values, now time.Time) (o engine.OutputOptions, limit int64, err error) {
	p := &parameters{Values: query}
	p.onlyContainer()
	o = engine.OutputOptions{
		Follow: p.has("follow", false), Timestamps: p.has("timestamps", false), Tail: int(p.number("tailLines", 0, maxLogLines, maxLogLines)),
	}
	unlimited := int64(maxLogBytes)
	if o.Follow {
		unlimited = math.MaxInt64
	}
	limit = p.number("limitBytes", 1, maxLogBytes, unlimited)
	if p.has("previous", false) {
		p.refuse("previous", "the log of a container has all of its runs, and is kept as long as it is")
	}
	switch stream := query.Get("stream"); stream {
	case "", corev1.LogStreamAll:
		o.Stdout, o.Stderr = true, true
	case corev1.LogStreamStdout:
		o.Stdout = true
	case corev1.LogStreamStderr:
		o.Stderr = true
	default:
		p.refuse("stream", "must be All, Stdout or Stderr")
	}
	if seconds := p.number("sinceSeconds", 1, math.MaxInt32, 0); seconds > 0 {
		o.Since = now.Add(-time.Duration(seconds) * time.Second)
	}
	if text := query.Get("sinceTime"); text != "" {
		if !o.Since.IsZero() {
			p.refuse("sinceTime", "sinceSeconds is given, too")
		}
		if o.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			p.refuse("sinceTime", "must be a time as in 2006-01-02T15:04:05Z")
		}
	}
	return o, limit, p.err
}

// logAnswer is a stream for an answer.
type logAnswer struct {
	io.Reader
	follow bool
	end    func() error
}

// Close ends the session.
func (a *logAnswer) Close() error { return a.end() }

// InputStream has the stream passed on piece by piece where somebody waits for it.
func (a *logAnswer) InputStream(context.Context, string, string) (io.ReadCloser, bool, string, error) {
	return a, a.follow, "text/plain", nil
}

// GetObjectKind is for an answer to be an object.
func (a *logAnswer) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject is, too: a stream has no copy.
func (a *logAnswer) DeepCopyObject() runtime.Object { return a }
