//go:build integration

package app

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The API server's library tells systemd once it listens. The PostgreSQL below it,
// which is built for systemd too, is not heard in its place.
func TestTellsSystemd(t *testing.T) {
	path := filepath.Join(tempDir(t), "notify.sock")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	require.NoError(t, os.Chmod(path, 0o777)) // as systemd's own is
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(patience)))
	t.Setenv("NOTIFY_SOCKET", path)
	m := startManager(t, func(c *Config) { c.DockerHost = "unix://" + filepath.Join(tempDir(t), "nobody.sock") })
	m.stop()
	message := make([]byte, 256)
	n, err := socket.Read(message)
	require.NoError(t, err)
	require.Equal(t, "READY=1\n", string(message[:n]))
	require.NoError(t, socket.SetReadDeadline(time.Now()))
	n, err = socket.Read(message)
	require.ErrorContains(t, err, "timeout", "no other word: %s", message[:n])
}
