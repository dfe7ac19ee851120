package app

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// dataDir is the data directory, held by one process at a time.
type dataDir struct {
	lock *os.File
	// identity is what the process that holds it is called among replicas.
	identity string
}

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
	d := &dataDir{lock: lock}
	if d.identity, err = identity(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("--data-dir %s: %w", path, err), lock.Close())
	}
	return d, nil
}

// identity is this manager's name in the lease. It is the same after a crash, so
// that the successor need not wait for its own lease to run out, and it is no
// other process's: it is kept in the lock, and copies of one differ by their host
// or their place. Containers of one host may share its name and a path.
func identity(lock *os.File) (string, error) {
	kept, err := io.ReadAll(lock)
	if err == nil && len(kept) == 0 {
		kept = []byte(rand.Text())
		_, err = lock.Write(kept)
	}
	if err != nil {
		return "", fmt.Errorf("keeping our own name: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	sum := sha256.Sum256(append(kept, lock.Name()...))
	return host + "_" + hex.EncodeToString(sum[:4]), nil
}

func (d *dataDir) close() error { return d.lock.Close() }

// checkStateRoot makes the directory of the games' state if need be, and says at
// once what each new game would meet.
func checkStateRoot(path string) error {
	if err := os.MkdirAll(path, 0o711); err != nil {
		return fmt.Errorf("--state-root: %w", err)
	}
	if err := unix.Access(path, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("--state-root %s: no state directories can be made there: %w", path, err)
	}
	return nil
}
