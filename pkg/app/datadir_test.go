package app

import (
	"os"
	"path/filepath"
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
