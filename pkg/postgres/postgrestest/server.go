package postgrestest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"

	"galaxy.io/runtime-manager/pkg/postgres"
)

// patience is how long a server may take to stop, or to be gone.
const patience = 30 * time.Second

// ServerOptions say how a test's own server is run.
type ServerOptions struct {
	// Dir holds all that it writes, and must be one that an unprivileged user
	// can reach; a temporary one if empty.
	Dir string
	// Settings of the server, each name=value.
	Settings []string
}

// Server is a PostgreSQL of one test's own, which the test may kill, stop and
// start again. Its address stays the same.
type Server struct {
	options ServerOptions
	child   *postgres.Embedded
}

// StartServer starts a server that ends with the test.
func StartServer(t testing.TB, options ServerOptions) *Server {
	t.Helper()
	s := newServer(t, options)
	s.Start(t)
	return s
}

func newServer(t testing.TB, options ServerOptions) *Server {
	t.Helper()
	if options.Dir == "" {
		dir, err := tempDir()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) }) // in the system's temporary directory
		options.Dir = filepath.Join(dir, "postgres")
	}
	s := &Server{options: options}
	t.Cleanup(func() {
		if s.child != nil {
			s.Stop(t)
		}
	})
	return s
}

// Start starts the server anew; one that was killed replays its log first.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	child, err := postgres.StartEmbedded(context.Background(), postgres.EmbeddedOptions{
		Dir: s.options.Dir, Settings: s.options.Settings, Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.child = child
}

// Stop shuts the server down in order; it ends its connections.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.child.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// Kill ends every process of the server at once, with SIGKILL: what it did not
// write to its log is gone.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	Kill(t, s.options.Dir)
	select {
	case <-s.child.Exited():
	case <-time.After(patience):
		t.Fatal("the server that was killed lives on")
	}
}

// URL is how its superuser connects.
func (s *Server) URL() string { return s.child.URL() }

// Kill ends the embedded server that lives in a directory, as Server.Kill does.
func Kill(t testing.TB, dir string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	// Stopped, it neither starts further children nor tidies up after those
	// that die before it.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range strings.Fields(string(children)) {
		id, err := strconv.Atoi(child)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(id, syscall.SIGKILL) // it may have ended by itself
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// Standby starts a hot standby of the server: it follows, and answers reads
// alone. It ends with the test.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	standby := newServer(t, ServerOptions{Settings: s.options.Settings})
	data := filepath.Join(standby.options.Dir, "data")
	command := exec.CommandContext(ctx, filepath.Join(s.programs(t), "pg_basebackup"),
		"--dbname", s.URL(), "--pgdata", data, "--write-recovery-conf", "--checkpoint=fast")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	owner, err := os.Stat(filepath.Join(s.options.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := owner.Sys().(*syscall.Stat_t).Uid, owner.Sys().(*syscall.Stat_t).Gid
	err = filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(uid), int(gid))
	})
	if err != nil {
		t.Fatal(err)
	}
	standby.Start(t)
	return standby
}

// programs is the directory of the programs that belong to the server.
func (s *Server) programs(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var dir string
	if err := conn.QueryRow(ctx, "SELECT setting FROM pg_config WHERE name = 'BINDIR'").Scan(&dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
