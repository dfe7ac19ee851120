package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// elsewhere is where the database is kept when we are root and the server's
// user cannot reach the data directory, as below root's own home.
const elsewhere = "/var/lib/runtime-manager"

// longestSocketDir leaves room for the socket's name in the 107 bytes that a
// unix socket's path may have.
const longestSocketDir = 85

// logLimit is when the server's log is begun anew, at a start.
const logLimit = 16 << 20

// home is where a child server lives, and whose it is.
type home struct {
	dir    string
	socket string
	user   account
}

// account is who the server runs as.
type account struct {
	name     string
	uid, gid int
	// switched says that it is not us.
	switched bool
}

// serverAccount is ourselves, or an unprivileged user when we are root, as whom
// PostgreSQL refuses to run.
func serverAccount() (account, error) {
	if os.Getuid() != 0 {
		return account{name: "self", uid: os.Getuid(), gid: os.Getgid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if errors.Join(uidErr, gidErr) == nil {
			return account{name: name, uid: uid, gid: gid, switched: true}, nil
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")
}

func (a account) process() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if a.switched {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// reaches says whether the account may search every directory above path.
func (a account) reaches(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		mode, owner := info.Mode().Perm(), info.Sys().(*syscall.Stat_t)
		switch {
		case int(owner.Uid) == a.uid:
			mode >>= 6
		case int(owner.Gid) == a.gid:
			mode >>= 3
		}
		if mode&1 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

func makeHome(dir string) (home, error) {
	owner, err := serverAccount()
	if err != nil {
		return home{}, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return home{}, fmt.Errorf("making the database's directory: %w", err)
	}
	sum := sha256.Sum256([]byte(dir))
	tag := hex.EncodeToString(sum[:4])
	h := home{dir: dir, socket: dir, user: owner}
	if owner.switched && !owner.reaches(dir) {
		h.dir = filepath.Join(elsewhere, "postgres-"+tag)
		h.socket = h.dir
	}
	if len(h.socket) > longestSocketDir {
		h.socket = filepath.Join(os.TempDir(), "runtime-manager-"+tag)
	}
	for _, d := range []string{h.dir, h.socket} {
		if err := h.own(d); err != nil {
			return home{}, fmt.Errorf("making the database's directory: %w", err)
		}
	}
	return h, nil
}

// own makes a directory that is the server's alone.
func (h home) own(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !h.user.switched {
		return nil
	}
	return os.Chown(dir, h.user.uid, h.user.gid)
}

func (h home) data() string { return filepath.Join(h.dir, "data") }

func (h home) initialised() bool {
	_, err := os.Stat(filepath.Join(h.data(), "PG_VERSION"))
	return err == nil
}

// initialise runs initdb beside the final place and moves its result there:
// one that was interrupted leaves nothing that looks complete.
func (h home) initialise(ctx context.Context, bin programs) error {
	if h.initialised() {
		return nil
	}
	fresh := h.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("initialising the database: %w", err)
	}
	cmd := exec.CommandContext(ctx, bin.initdb, "-D", fresh, "-U", role, "-E", "UTF8", "--locale=C", "-A", "trust", "--no-instructions")
	cmd.Dir = h.dir
	cmd.SysProcAttr = h.user.process()
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil { // it was told to give up: what it printed tells nothing
			return fmt.Errorf("initialising the database: %w", ctx.Err())
		}
		return fmt.Errorf("initialising the database: %w: %s", err, lastLine(out))
	}
	if err := os.Rename(fresh, h.data()); err != nil {
		return fmt.Errorf("initialising the database: %w", err)
	}
	return nil
}

// clearLeftovers ends a server that outlived the manager that started it, and
// removes the lock files of one that is gone. The lock on the data directory
// vouches that no other manager uses it.
func (h home) clearLeftovers(ctx context.Context) error {
	if err := h.endServers(ctx); err != nil {
		return err
	}
	locks, _ := filepath.Glob(filepath.Join(h.socket, ".s.PGSQL.*")) // the pattern is well-formed
	for _, path := range append(locks, filepath.Join(h.data(), "postmaster.pid")) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a stale lock: %w", err)
		}
	}
	return nil
}

// endServers shuts down what is not our child, and waits for the last of its
// processes: those that a killed server leaves behind hold its shared memory
// until they notice.
func (h home) endServers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	signal := syscall.SIGINT // a server's fast shutdown
	for tries := 0; ; tries++ {
		servers := h.servers()
		if len(servers) == 0 {
			return nil
		}
		if tries == 500 { // ten seconds: it does not want to
			signal = syscall.SIGQUIT
		}
		if tries%500 == 0 {
			for _, pid := range servers {
				_ = syscall.Kill(pid, signal) // it may be gone by now
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ending the PostgreSQL that an earlier manager left behind (process %d): %w", servers[0], ctx.Err())
		case <-poll.C:
		}
	}
}

// servers are the processes that work in our data: every process of a server
// does, and a process id from a file may be somebody else's by now.
func (h home) servers() []int {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is well-formed
	var pids []int
	for _, link := range links {
		if cwd, err := os.Readlink(link); err != nil || cwd != h.data() {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (h home) logPath() string { return filepath.Join(h.dir, "postgres.log") }

func (h home) openLog() (*os.File, error) {
	mode := os.O_CREATE | os.O_APPEND | os.O_WRONLY
	if info, err := os.Stat(h.logPath()); err == nil && info.Size() > logLimit {
		mode |= os.O_TRUNC
	}
	file, err := os.OpenFile(h.logPath(), mode, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the database's log: %w", err)
	}
	return file, nil
}

// lastWords are what the server's log says of its end: its last fatal line, or
// else its last one.
func (h home) lastWords() string {
	content, err := os.ReadFile(h.logPath())
	if err != nil {
		return "no log"
	}
	if i := bytes.LastIndex(content, []byte("FATAL:")); i >= 0 {
		first, _, _ := bytes.Cut(content[i:], []byte("\n"))
		return string(first)
	}
	return lastLine(content)
}

func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.TrimSpace(lines[len(lines)-1]))
}

func (h home) version() string {
	content, err := os.ReadFile(filepath.Join(h.data(), "PG_VERSION"))
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(content))
}
