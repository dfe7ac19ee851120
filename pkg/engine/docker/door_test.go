package docker

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// What stands between us and an engine is told together with what to do about it,
// and without the place of its socket.
func TestClosedDoors(t *testing.T) {
	dir := t.TempDir()
	deserted := filepath.Join(dir, "deserted.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: deserted, Net: "unix"})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	for name, host := range map[string]string{
		"no socket":        "unix://" + filepath.Join(dir, "none.sock"),
		"nobody at it":     "unix://" + deserted,
		"nobody on a port": "tcp://127.0.0.1:9",
	} {
		t.Run(name, func(t *testing.T) {
			err := ask(t, host)
			require.ErrorContains(t, err, "start it (systemctl start docker), or name its address with --docker-host")
			require.NotContains(t, err.Error(), dir)
		})
	}
}

// Root, as whom tests run, is let in everywhere: this is what others meet.
func TestDoorForOthers(t *testing.T) {
	address := &net.UnixAddr{Name: "/var/run/docker.sock", Net: "unix"}
	err := classify("ask the engine who it is", &url.Error{Op: "Get", URL: "http://docker/info", Err: &net.OpError{
		Op: "dial", Net: "unix", Addr: address, Err: os.NewSyscallError("connect", syscall.EACCES),
	}})
	require.Equal(t, engine.Unreachable, err.Kind)
	require.ErrorContains(t, err, "run the manager as root, or as a user in the socket's group")
	require.NotContains(t, err.Error(), address.Name)
}

func ask(t *testing.T, host string) error {
	t.Helper()
	c, err := New(Options{Host: host})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Info(t.Context())
	require.Equal(t, engine.Unreachable, engine.KindOf(err))
	return err
}
