package docker

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"regexp"
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

// isConflict knows Podman by its words: it answers 500.
func isConflict(err error) bool {
	return errdefs.IsConflict(err) || errdefs.IsAlreadyExists(err) || err != nil &&
		(strings.Contains(err.Error(), "name is already in use") || strings.Contains(err.Error(), "network already exists"))
}

// startKind says what the engine's message has against a start: it has no code
// for any of it. The exit code tells no more: a mount that failed may leave 127,
// as a missing program does. Mounts stand first, for their messages quote the
// system's own words for a missing file.
func startKind(text string) engine.Kind {
	for _, sign := range []struct {
		text string
		kind engine.Kind
	}{
		{"port is already allocated", engine.PortConflict},      // by another container
		{"address already in use", engine.PortConflict},         // by another program
		{"error mounting", engine.MountFailed},                  // the runtime
		{"bind source path does not exist", engine.MountFailed}, // the engine, before the runtime
		{"invalid mount config", engine.MountFailed},
		{"exec: ", engine.ProgramFailed},
		{"exec format error", engine.ProgramFailed},
	} {
		if strings.Contains(text, sign.text) {
			return sign.kind
		}
	}
	return engine.StartFailed
}

// What keeps us from an engine, and what to do about it. The SDK's words name the
// socket, and a path of the host is nothing for those who read records.
var (
	errDenied = errors.New("permission denied on the engine's socket: run the manager as root, or as a user in the socket's group (usermod -aG docker USER)")
	errSilent = errors.New("no engine answers: start it (systemctl start docker), or name its address with --docker-host")
)

// clean keeps of an engine's error what a person needs.
func clean(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, fs.ErrPermission):
		return errDenied
	case client.IsErrConnectionFailed(err) && strings.HasPrefix(err.Error(), "Cannot connect to the Docker daemon"):
		return errSilent
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
	"error during container init: ",
	"driver failed programming external connectivity on endpoint ",
}

// rootPath is where the engine keeps a container's file system on its host.
var rootPath = regexp.MustCompile(`(/[^\s":]+)+/(merged|rootfs)(/|\b)`)

func tidy(text string) string {
	text = rootPath.ReplaceAllString(text, "/")
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
	text, _, _ = strings.Cut(text, ": unknown: Are you trying to mount") // advice to who types commands
	return strings.TrimSuffix(strings.TrimSpace(text), ": unknown")
}
