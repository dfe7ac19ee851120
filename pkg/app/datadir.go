package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dataDir is the data directory, held by one process at a time.
type dataDir struct{ lock *os.File }

// openDataDir makes the directory if need be and locks it. The kernel gives
// the lock up with the process, however it ends.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another runtime-manager uses it")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--data-dir %s: %w", path, err), lock.Close())
	}
	return &dataDir{lock: lock}, nil
}

func (d *dataDir) close() error { return d.lock.Close() }
