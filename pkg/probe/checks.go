package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Check makes one check of a game before its context ends; nil is a success,
// and the text of an error becomes the verdict's message.
type Check func(ctx context.Context, target Target, spec v1alpha1.Probe) error

// bodyLimit is how much of an answer is read, so that the game can finish it.
const bodyLimit = 10 << 10

// transport opens a connection for each check: that it can be opened is part
// of what is checked.
var transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

func check(ctx context.Context, target Target, spec v1alpha1.Probe) error {
	switch {
	case spec.HTTPGet != nil:
		return CheckHTTP(ctx, target.Address, *spec.HTTPGet)
	case spec.TCPSocket != nil:
		return checkTCP(ctx, target.Address, *spec.TCPSocket)
	default:
		return errors.New("the probe names nothing to check")
	}
}

// CheckHTTP asks the game at an address, without a port. It succeeds on an
// answer from 200 to 399; a redirect is an answer.
func CheckHTTP(ctx context.Context, address string, action v1alpha1.HTTPGetAction) error {
	url := "http://" + join(address, action.Port) + action.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("path %q makes no URL", action.Path)
	}
	request.Header.Set("User-Agent", "runtime-manager-probe")
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return plain(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(answer.Body, bodyLimit)); err != nil {
		return plain(err)
	}
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return fmt.Errorf("GET %s answered %d", action.Path, answer.StatusCode)
	}
	return nil
}

func checkTCP(ctx context.Context, address string, action v1alpha1.TCPSocketAction) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", join(address, action.Port))
	if err != nil {
		return plain(err)
	}
	return conn.Close()
}

func join(address string, port int32) string {
	return net.JoinHostPort(address, strconv.Itoa(int(port)))
}

// plain leaves the addresses out, which change from run to run.
func plain(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &op):
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	default:
		return err
	}
}
