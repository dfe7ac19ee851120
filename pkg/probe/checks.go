package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Check makes one check of a game before its context ends; nil is a success,
// and the text of an error becomes the verdict's message.
type Check func(ctx context.Context, target Target, spec v1alpha1.Probe) error

// dialer makes the connections of all checks, none of which is kept.
var dialer = net.Dialer{KeepAlive: -1}

// checks makes checks for real.
type checks struct{ programs *programs }

func (c checks) check(ctx context.Context, target Target, spec v1alpha1.Probe) error {
	switch {
	case spec.HTTPGet != nil:
		return CheckHTTP(ctx, target.Address, *spec.HTTPGet)
	case spec.TCPSocket != nil:
		return checkTCP(ctx, target.Address, *spec.TCPSocket)
	case spec.Exec != nil:
		return c.programs.check(ctx, target.Container, *spec.Exec)
	case spec.GRPC != nil:
		return checkGRPC(ctx, target.Address, *spec.GRPC)
	default:
		return errors.New("the probe names nothing to check")
	}
}

func checkTCP(ctx context.Context, address string, action v1alpha1.TCPSocketAction) error {
	conn, err := dialer.DialContext(ctx, "tcp", join(address, action.Port))
	if err != nil {
		return plain(err)
	}
	return conn.Close()
}

func join(address string, port int32) string {
	return net.JoinHostPort(address, strconv.Itoa(int(port)))
}

// maxMessage is how much of what a game has to say becomes a message, in bytes.
const maxMessage = 256

// plain leaves the addresses out, which change from run to run.
func plain(err error) error {
	var op *net.OpError
	var ofURL *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the answer breaks off")
	case errors.As(err, &op):
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	case errors.As(err, &ofURL):
		err = ofURL.Err
	}
	return errors.New(shorten(err.Error()))
}

// shorten cuts a text that a game has a part in.
func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}
