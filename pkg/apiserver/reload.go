package apiserver

import (
	"bytes"
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/util/filesystem"
)

const (
	// rereadEvery is how often a file is read where the system does not tell that it changed.
	rereadEvery = 10 * time.Second
	// settleTime is how long a file may be halfway: who writes one in place empties it first.
	settleTime = 100 * time.Millisecond
)

// watchedFile is a file that is read again when it changes. What it says must be
// understood at the start; later on, the last version that was still counts.
type watchedFile[T any] struct {
	// what it is, in the log.
	what, path string
	read       func(path string) ([]byte, error)
	parse      func(content []byte) (T, error)

	content []byte
	// failure is what was wrong with the file when it was last looked at; nil is nothing.
	failure atomic.Pointer[error]
}

// check says what is wrong with the file.
func (f *watchedFile[T]) check() error {
	if failure := f.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// load reads the file for the first time.
func (f *watchedFile[T]) load() (T, error) {
	content, err := f.read(f.path)
	if err != nil {
		var none T
		return none, err
	}
	f.content = content
	return f.parse(content)
}

// follow hands on each later version that is understood, until ctx ends.
func (f *watchedFile[T]) follow(ctx context.Context, log logr.Logger, use func(T)) {
	log = log.WithValues("file", f.path)
	filesystem.WatchUntil(ctx, rereadEvery, f.path, func() {
		select {
		case <-ctx.Done():
		case <-time.After(settleTime):
			f.look(log, use)
		}
	}, nil)
}

func (f *watchedFile[T]) look(log logr.Logger, use func(T)) {
	content, err := f.read(f.path)
	before := f.check()
	if err == nil && before == nil && bytes.Equal(content, f.content) {
		return
	}
	var said T
	if err == nil {
		said, err = f.parse(content)
	}
	if err != nil {
		f.failure.Store(&err)
		if before == nil || before.Error() != err.Error() {
			log.Error(err, "the "+f.what+" is not understood: what it said before still counts")
		}
		return
	}
	f.content = content
	f.failure.Store(nil)
	use(said)
	log.Info("the " + f.what + " was read again")
}

// readFile reads a file whose mode does not matter.
func readFile(path string) ([]byte, error) { return os.ReadFile(path) }
