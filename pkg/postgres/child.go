package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// child is one run of a server.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startChild runs the server from a thread that lives as long as it does: the
// kernel sends the death signal when the thread ends, not the process.
func (h home) startChild(bin programs, settings []string) (*child, error) {
	logFile, err := h.openLog()
	if err != nil {
		return nil, err
	}
	args := []string{
		"-D", h.data(), "-k", h.socket,
		"-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c", "max_connections=100",
	}
	for _, setting := range settings { // the last one of a name counts
		args = append(args, "-c", setting)
	}
	c := &child{cmd: exec.Command(bin.postgres, args...), exited: make(chan struct{})}
	c.cmd.Dir = h.dir
	c.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=") // what it would tell systemd is ours to tell
	c.cmd.Stdout, c.cmd.Stderr = logFile, logFile
	c.cmd.SysProcAttr = h.user.process()
	c.cmd.SysProcAttr.Setpgid = true // a Ctrl-C is for us; we tell the server when it is its turn
	c.cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer logFile.Close()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait() // how it ended stands in the process's state
			close(c.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return c, nil
}

// end says how it ended, once it did.
func (c *child) end() string { return c.cmd.ProcessState.String() }

func (c *child) stop(ctx context.Context) error {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		select {
		case <-c.exited:
			return nil
		default:
		}
		if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stopping PostgreSQL: %w", err)
		}
		select {
		case <-c.exited:
			return nil
		case <-ctx.Done():
		}
	}
	<-c.exited
	return nil
}
