package docker

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestKinds(t *testing.T) {
	cases := map[string]struct {
		err  error
		kind engine.Kind
	}{
		"deadline":         {context.DeadlineExceeded, engine.Timeout},
		"caller gave up":   {context.Canceled, engine.Timeout},
		"no connection":    {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, engine.Unreachable},
		"closed":           {io.EOF, engine.Unreachable},
		"cut off":          {io.ErrUnexpectedEOF, engine.Unreachable},
		"stream ended":     {errStreamEnded, engine.Unreachable},
		"not found":        {errdefs.ErrNotFound, engine.NotFound},
		"invalid argument": {errdefs.ErrInvalidArgument, engine.Invalid},
		"anything else":    {errors.New("no space left on device"), engine.Failed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			failure := classify("do it", c.err)
			require.Equal(t, c.kind, failure.Kind)
			require.Equal(t, "do it", failure.Op)
			require.ErrorIs(t, failure, c.err)
		})
	}
	require.Nil(t, classify("do it", nil))
}

func TestTidy(t *testing.T) {
	const endpoint = "driver failed programming external connectivity on endpoint chess.default (4fda7e9c): "
	cases := map[string]string{
		"Error response from daemon: No such image: galaxy/chess:1.0.0": "No such image: galaxy/chess:1.0.0",
		"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " +
			`exec: "/nope": stat /nope: no such file or directory: unknown`: `exec: "/nope": stat /nope: no such file or directory`,
		endpoint + "Bind for 0.0.0.0:8080 failed: port is already allocated":                       "Bind for 0.0.0.0:8080 failed: port is already allocated",
		endpoint + "listen tcp4 0.0.0.0:8080: bind: address already in use":                        "listen tcp4 0.0.0.0:8080: bind: address already in use",
		"failed to set up container networking: " + endpoint + "failed to bind host port 8080/tcp": "failed to bind host port 8080/tcp",
		`OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "/games/chess" to rootfs at "/etc/x": ` +
			`open /var/lib/docker/overlay2/c59f9b/merged/etc/x: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check`: `error mounting "/games/chess" to rootfs at "/etc/x": open /etc/x: not a directory`,
		"plain": "plain",
	}
	for text, want := range cases {
		require.Equal(t, want, tidy(text))
	}
}
