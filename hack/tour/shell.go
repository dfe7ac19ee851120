package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// again is how long a command that looks is left alone before it is typed anew.
const again = 300 * time.Millisecond

// shell is one bash, as a person has one open for the whole page.
type shell struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output chan string
}

func startShell() (*shell, error) {
	s := &shell{cmd: exec.Command("bash", "--noprofile", "--norc"), output: make(chan string)}
	// A group of its own: what it left running is ended with it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.input, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting a shell: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting a shell: %w", err)
	}
	s.cmd.Stdout, s.cmd.Stderr = write, write
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a shell: %w", err)
	}
	_ = write.Close() // the shell has its own
	go func() {
		defer close(s.output)
		lines := bufio.NewScanner(read)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.output <- lines.Text()
		}
	}()
	return s, nil
}

// close ends the shell and what it left running, a manager for instance, in order.
func (s *shell) close() {
	group := -s.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // it fails where all have ended
	_ = s.input.Close()
	for range s.output {
	}
	_ = s.cmd.Wait() // by the signal, or as its last command did
	patience := time.After(time.Minute)
	for syscall.Kill(group, 0) == nil {
		select {
		case <-time.After(again):
		case <-patience:
			_ = syscall.Kill(group, syscall.SIGKILL)
			return
		}
	}
}

// take types a step until it prints what the page shows.
func (s *shell) take(step step, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		printed, code, err := s.run(step.command, deadline.Add(patience))
		if err != nil {
			return err
		}
		var wrong error
		switch {
		case len(step.prints) == 0 && code != 0:
			wrong = fmt.Errorf("ended with %d", code)
		case len(step.prints) > 0 && !shown(step.prints, printed):
			wrong = errors.New("the page shows\n\t" + strings.Join(step.prints, "\n\t"))
		default:
			return nil
		}
		if !step.looksOnly() || time.Now().After(deadline) {
			return fmt.Errorf("%s\n%w\nand it printed\n\t%s", step.command, wrong, strings.Join(printed, "\n\t"))
		}
		<-time.After(again)
	}
}

// done is what the shell says when a command has ended, with its exit code.
const done = "tour: that ended with "

func (s *shell) run(command string, deadline time.Time) (printed []string, code int, err error) {
	if _, err := fmt.Fprintf(s.input, "%s\nstatus=$?; echo; echo '%s'$status\n", command, done); err != nil {
		return nil, 0, fmt.Errorf("typing %s: %w", command, err)
	}
	timeout := time.After(time.Until(deadline))
	for {
		select {
		case line, ok := <-s.output:
			if !ok {
				return nil, 0, fmt.Errorf("the shell ended at %s\n\t%s", command, strings.Join(printed, "\n\t"))
			}
			if text, is := strings.CutPrefix(line, done); is {
				code, err = strconv.Atoi(text)
				return trim(printed), code, err
			}
			printed = append(printed, line)
		case <-timeout:
			return nil, 0, fmt.Errorf("%s did not end; it printed\n\t%s", command, strings.Join(printed, "\n\t"))
		}
	}
}

// trim takes off the empty lines at the end.
func trim(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}
