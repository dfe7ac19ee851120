package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"runtime/pprof"
	"syscall"
	"time"
)

// jobKey is the environment variable that makes this program a child of itself.
const jobKey = "BENCH_JOB"

// stopTimeout is what a child may take to end, before it is killed.
const stopTimeout = 30 * time.Second

// job says what a child process is for.
type job struct {
	// Serve makes it an API server, else it is a load.
	Serve     bool
	Contender string
	// URL is the contender's database: of an API server, or of a load straight on
	// the storage interface.
	URL  string
	Kine []string // further flags of kine's
	// Kubeconfig leads to the API server that a load is put on.
	Kubeconfig string
	Process    int
	// Template names what the records are made of.
	Template string
	// Profile is the file for a CPU profile, if any.
	Profile string
}

// child does a job until the parent hangs up.
func child(j job) error {
	if j.Profile != "" {
		file, err := os.Create(j.Profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	server := rpc.NewServer()
	var err error
	if j.Serve {
		a := &api{job: j, stop: func() {}}
		err = server.RegisterName("API", a)
		defer func() { a.stop() }()
	} else {
		l := &load{process: j.Process, template: parse(j.Template)}
		if l.target, err = openTarget(j); err != nil {
			return err
		}
		err = server.RegisterName("Load", l)
	}
	if err != nil {
		return err
	}
	conn, err := net.FileConn(os.NewFile(3, "parent"))
	if err != nil {
		return err
	}
	server.ServeConn(conn)
	return nil
}

// openTarget leaves the contender open: the process ends with it.
func openTarget(j job) (target, error) {
	if j.Kubeconfig != "" {
		return openAPITarget(j.Kubeconfig)
	}
	c, err := open(context.Background(), j.Contender, j.URL, j.Kine)
	if err != nil {
		return nil, err
	}
	bare, err := c.Bare()
	return storageTarget{bare}, err
}

// process is a child as the parent sees it.
type process struct {
	*rpc.Client
	command *exec.Cmd
}

// start makes a child; it is killed if ctx ends.
func start(ctx context.Context, j job) (*process, error) {
	encoded, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connecting to a child: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "child"), os.NewFile(uintptr(pair[1]), "parent")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "/proc/self/exe")
	command.Env = append(os.Environ(), jobKey+"="+string(encoded))
	command.Stdout, command.Stderr, command.ExtraFiles = os.Stderr, os.Stderr, []*os.File{theirs}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting a child: %w", err)
	}
	return &process{rpc.NewClient(conn), command}, nil
}

// stop hangs up, and waits for the end.
func (p *process) stop() error {
	_ = p.Close() // the child may have hung up itself
	kill := time.AfterFunc(stopTimeout, func() { _ = p.command.Process.Kill() })
	defer kill.Stop()
	return p.command.Wait()
}
