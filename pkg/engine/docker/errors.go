package docker

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"galaxy.io/runtime-manager/pkg/engine"
)

// classify gives a failure its kind, once; nil for nil.
func classify(op string, err error) *engine.Error {
	if err == nil {
		return nil
	}
	return &engine.Error{Op: op, Kind: kindOf(err), Err: clean(err)}
}

func kindOf(err error) engine.Kind {
	var netErr net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return engine.Timeout
	case client.IsErrConnectionFailed(err), errors.As(err, &netErr),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errStreamEnded):
		return engine.Unreachable
	case errdefs.IsNotFound(err):
		return engine.NotFound
	case errdefs.IsInvalidArgument(err):
		return engine.Invalid
	default:
		return engine.Failed
	}
}

func isConflict(err error) bool { return errdefs.IsConflict(err) || errdefs.IsAlreadyExists(err) }

// portTaken: the engine has no code for a host port that is in use, by another
// container (the first) or by another program (the second).
func portTaken(err error) bool {
	return strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use")
}

// clean keeps of an engine's error what a person needs.
func clean(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	if text := tidy(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// noise stands before the cause in an engine's messages, outermost first. An
// endpoint is followed by its id in brackets, which no person needs.
var noise = []string{
	"Error response from daemon: ",
	"OCI runtime create failed: ",
	"runc create failed: ",
	"unable to start container process: ",
	"driver failed programming external connectivity on endpoint ",
}

func tidy(text string) string {
	for _, before := range noise {
		_, cause, found := strings.Cut(text, before)
		if !found {
			continue
		}
		if _, afterEndpoint, found := strings.Cut(cause, "): "); found && strings.HasSuffix(before, "endpoint ") {
			cause = afterEndpoint
		}
		text = cause
	}
	return strings.TrimSuffix(strings.TrimSpace(text), ": unknown")
}
