package controllers

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// A manager that may not do something with a state directory says what it lacks,
// and no path.
func TestStateDirectoriesOfSomebodyElse(t *testing.T) {
	const nobody = 65534
	root := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(root), 0o711))
	chess := engine.GameID{Namespace: "default", Name: "chess"}
	asNobody := func(do func() error) string {
		done := make(chan error)
		go func() { // the thread ends with it: nobody else becomes nobody
			runtime.LockOSThread()
			_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody)
			done <- do()
		}()
		err := <-done
		require.Error(t, err)
		require.NotContains(t, err.Error(), root)
		return err.Error()
	}
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	s := states{root: root}
	require.Equal(t, "making state directory of default/chess: permission denied: the manager's user has to be able to write below --state-root",
		asNobody(func() error { return s.ensure(chess, "", "") }))

	require.NoError(t, os.Chown(root, nobody, nobody))
	require.Equal(t, "giving away state directory of default/chess: operation not permitted: the game runs as another user than the manager, and only root gives directories away",
		asNobody(func() error { return s.ensure(chess, "1000:1000", "") }))

	require.NoError(t, s.ensure(chess, "1000:1000", ""))
	require.NoError(t, os.WriteFile(filepath.Join(root, "default", "chess", "turns"), nil, 0o600))
	require.Contains(t, asNobody(func() error { return s.remove(chess) }), "the manager's user has to own what is below --state-root")
}
