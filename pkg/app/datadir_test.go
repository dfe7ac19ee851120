package app

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachDataDirectoryIsOneReplica(t *testing.T) {
	open := func(path string) string {
		d, err := openDataDir(path)
		require.NoError(t, err)
		_, err = openDataDir(path)
		require.ErrorContains(t, err, "another runtime-manager uses it")
		require.NoError(t, d.close())
		return d.identity
	}
	first, second, copied := t.TempDir(), t.TempDir(), t.TempDir()
	name := open(first)
	require.Equal(t, name, open(first), "after a crash it is the same replica")
	require.NotEqual(t, name, open(second))

	lock, err := os.ReadFile(filepath.Join(first, "lock"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(copied, "lock"), lock, 0o600))
	require.NotEqual(t, name, open(copied))
	require.NoError(t, os.Remove(filepath.Join(first, "lock")))
	require.NotEqual(t, name, open(first), "another container's directory at the same place")
}

// Root may write everywhere, so it becomes somebody else, on a thread that ends
// with it.
func TestStateRootOfSomebodyElse(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(root), 0o711))
	require.NoError(t, os.Chmod(root, 0o555))
	checked := make(chan error)
	go func() {
		runtime.LockOSThread()
		if os.Getuid() == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534)
		}
		checked <- checkStateRoot(root)
	}()
	require.EqualError(t, <-checked, "--state-root "+root+": no state directories can be made there: permission denied")

	made := filepath.Join(t.TempDir(), "games")
	require.NoError(t, checkStateRoot(made))
	require.DirExists(t, made)
}
