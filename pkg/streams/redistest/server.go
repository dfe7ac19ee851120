// Package redistest gives a test a real Redis of its own, on a unix socket: the
// test may kill it, stop it, start it again, empty it, and put back what it held
// earlier.
package redistest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// patience is how long a server may take to start, or to be gone.
	patience = 30 * time.Second
	// glance is how often one is asked whether it answers by now.
	glance = 5 * time.Millisecond
)

// Server is a Redis that loses nothing that it acknowledged when it is killed.
// Its address stays the same.
type Server struct {
	dir      string
	settings []string
	cmd      *exec.Cmd
	exited   chan struct{}
}

// StartServer starts an empty server that ends with the test. Settings are
// redis-server's arguments, such as --requirepass and the password.
func StartServer(t testing.TB, settings ...string) *Server {
	t.Helper()
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir, settings: settings}
	t.Cleanup(func() {
		if s.runs() {
			s.Kill(t)
		}
		_ = os.RemoveAll(dir) // in the system's temporary directory
	})
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	return s
}

// tempDir is one whose path is short, as a socket's must be.
func tempDir() (string, error) { return os.MkdirTemp("", "rtm-redis") }

func (s *Server) data() string   { return filepath.Join(s.dir, "data") }
func (s *Server) socket() string { return filepath.Join(s.dir, "redis.sock") }

// URL is how clients connect.
func (s *Server) URL() string { return "unix://" + s.socket() }

// Client is one of the server that is closed with the test. It does not retry.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func (s *Server) runs() bool {
	if s.exited == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Start starts the server anew, with what it had acknowledged by its end, and
// returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	_ = os.Remove(s.socket()) // one that was killed left it; only the new one shall answer
	s.cmd = exec.Command("redis-server", append([]string{
		"--port", "0", "--unixsocket", s.socket(), "--dir", s.data(), "--save", "", "--appendonly", "yes", "--appendfsync", "always",
	}, s.settings...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the death signal is sent when the thread ends
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // how it ended is no matter
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting redis-server, which hack/provision.sh installs: %v", err)
	}
	s.exited = exited
	s.awaitAnswer(t)
}

func (s *Server) awaitAnswer(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket(), MaxRetries: -1})
	defer client.Close()
	for {
		err := client.Ping(ctx).Err()
		if err == nil || redis.IsAuthError(err) {
			return
		}
		select {
		case <-s.exited:
		case <-ctx.Done():
		case <-time.After(glance):
			continue
		}
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // as much as there is
		t.Fatalf("redis-server does not answer: %v: %s", err, log)
	}
}

// Stop shuts the server down in order.
func (s *Server) Stop(t testing.TB) { s.end(t, syscall.SIGTERM) }

// Kill ends the server with SIGKILL.
func (s *Server) Kill(t testing.TB) { s.end(t, syscall.SIGKILL) }

func (s *Server) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	_ = s.cmd.Process.Signal(signal) // it may have ended by itself
	s.awaitExit(t)
}

func (s *Server) awaitExit(t testing.TB) {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatal("the server that was to end lives on")
	}
}

// Hang stops the server's process, so that connections stand and nothing is
// answered, until Resume.
func (s *Server) Hang(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Resume lets a server that hangs go on.
func (s *Server) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Flush deletes all that the server holds.
func (s *Server) Flush(t testing.TB) {
	t.Helper()
	if err := s.Client(t).FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
}

// Snapshot is what a server held at a time.
type Snapshot struct{ dir string }

// Snapshot copies what the server holds, while nobody writes.
func (s *Server) Snapshot(t testing.TB) Snapshot {
	t.Helper()
	snapshot := Snapshot{filepath.Join(t.TempDir(), "data")}
	if err := os.CopyFS(snapshot.dir, os.DirFS(s.data())); err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// Replace kills the server and starts it with what it held at an earlier time,
// as a replica does that had not heard of the rest.
func (s *Server) Replace(t testing.TB, snapshot Snapshot) {
	t.Helper()
	if s.runs() {
		s.Kill(t)
	}
	if err := os.RemoveAll(s.data()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(s.data(), os.DirFS(snapshot.dir)); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
}
