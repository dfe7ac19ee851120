package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/docker/api/types/image"

	"galaxy.io/runtime-manager/pkg/engine"
)

// PullImage reads the progress stream to its end: that is where the engine
// reports most of what goes wrong.
func (c *Client) PullImage(ctx context.Context, ref string, progress func(engine.PullProgress)) error {
	op := "pull image " + ref
	auth, err := c.credentials(ctx, ref)
	if err != nil {
		return noCredentials(op, err)
	}
	stream, err := c.sdk.ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return pullFailure(op, err)
	}
	defer stream.Close()
	if progress == nil {
		progress = func(engine.PullProgress) {}
	}
	if err := follow(stream, progress); err != nil {
		return pullFailure(op, err)
	}
	return nil
}

// pullLine is one message of the stream. Those of a layer carry its id.
type pullLine struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Detail struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error string `json:"error"`
}

// follow reads the stream and adds the layers up. Every line is a sign of life,
// whether bytes came with it or not.
func follow(stream io.Reader, progress func(engine.PullProgress)) error {
	layers, sum := map[string]engine.PullProgress{}, engine.PullProgress{}
	for decoder := json.NewDecoder(stream); ; {
		var line pullLine
		switch err := decoder.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case line.Error != "":
			return errors.New(line.Error)
		}
		before := layers[line.ID]
		now := line.advance(before)
		layers[line.ID] = now
		sum.Done += now.Done - before.Done
		sum.Total += now.Total - before.Total
		progress(sum)
	}
}

// advance is how far a layer is after a line about it. Bytes are counted as they
// are downloaded: that they are unpacked afterwards is life, but no way further.
func (l pullLine) advance(before engine.PullProgress) engine.PullProgress {
	switch l.Status {
	case "Downloading":
		return engine.PullProgress{Done: l.Detail.Current, Total: max(l.Detail.Total, l.Detail.Current)}
	case "Download complete", "Pull complete":
		return engine.PullProgress{Done: before.Total, Total: before.Total}
	}
	return before
}

// noCredentials is a pull that was not asked for.
func noCredentials(op string, err error) error {
	failure := classify(op, err)
	if failure.Kind != engine.Timeout {
		failure.Kind = engine.PullFailed
	}
	return failure
}

// pullFailure tells the engine that is away from the registry that refuses.
func pullFailure(op string, err error) error {
	failure := classify(op, err)
	if failure.Kind == engine.Unreachable || failure.Kind == engine.Timeout {
		return failure
	}
	failure.Kind = engine.PullFailed
	if what := trouble(failure.Err.Error()); what != "" {
		failure.Err = fmt.Errorf("%s: %w", what, failure.Err)
	}
	return failure
}

// troubles with a registry, by the words in which the engine passes them on: it
// has no codes for them. The first that fits counts; a registry may say that it
// refuses access to what is not there.
var troubles = []struct {
	what  string
	words []string
}{
	{"the registry limits how often it may be asked", []string{"toomanyrequests", "too many requests"}},
	{"the registry refuses access, or has no such image", []string{"pull access denied", "requested access to the resource is denied"}},
	{"the registry refuses access", []string{" unauthorized", "no basic auth credentials", " denied:", " forbidden", "authentication required"}},
	{"the registry has no such image", []string{"manifest unknown", "name unknown", " not found"}},
	{"the registry cannot be reached", []string{
		"connection refused", "no such host", "no route to host", "network is unreachable", "i/o timeout", " tls:", " x509:",
		"timeout exceeded", "connection reset", "server misbehaving", "bad gateway", "service unavailable", " eof",
	}},
}

// trouble says in one clause what kind of trouble a failed pull met; "" if its
// words are not known.
func trouble(text string) string {
	text = strings.ToLower(text)
	for _, t := range troubles {
		for _, word := range t.words {
			if strings.Contains(text, word) {
				return t.what
			}
		}
	}
	return ""
}
