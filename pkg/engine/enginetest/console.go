package enginetest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Run runs the test game beside itself, on streams.
func (s *Sim) Run(ctx context.Context, id string, program engine.Program) (code int32, err error) {
	var game *run
	err = s.call(ctx, "Run", id, func() *engine.Error {
		c, missing := s.find(id)
		if missing != nil {
			return missing
		}
		if game = c.run; game == nil {
			return failure(engine.NotRunning, "container %s is not running", id)
		}
		s.feel(c, program.Command)
		return nil
	})
	if err != nil {
		return 0, err
	}
	p := performance{Program: program, input: make(chan string)}
	if p.Stdout == nil {
		p.Stdout = io.Discard
	}
	if p.Stderr == nil || p.Terminal {
		p.Stderr = p.Stdout
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go p.read(ctx)
	code, ended := p.play(ctx, game.ended)
	if !ended {
		return 0, &engine.Error{Op: "Run " + id, Kind: engine.Timeout, Err: ctx.Err()}
	}
	return code, nil
}

// performance is a program that runs.
type performance struct {
	engine.Program
	input chan string
}

// read has the input ready; it ends with what reads it, or is told to.
func (p performance) read(ctx context.Context) {
	defer close(p.input)
	if p.Stdin == nil {
		return
	}
	for buffer := make([]byte, 4<<10); ; {
		n, err := p.Stdin.Read(buffer)
		if n > 0 {
			select {
			case p.input <- string(buffer[:n]):
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// play returns the exit code of a program that ended before ctx did, by itself or
// with the game.
func (p performance) play(ctx context.Context, gameOver <-chan struct{}) (code int32, ended bool) {
	game := simContainer{spec: engine.ContainerSpec{Args: p.Command[1:]}}
	behaviour := game.arg(0)
	if p.Command[0] != GamePath || behaviour != Echo && behaviour != Size {
		return p.perform(ctx, gameOver)
	}
	sizes := p.Sizes
	if behaviour == Echo {
		sizes = nil
	}
	for {
		select {
		case text, more := <-p.input:
			if !more || p.Terminal && strings.Contains(text, endOfInput) {
				return 0, true
			}
			if behaviour == Echo {
				fmt.Fprint(p.Stdout, text)
			}
		case size, more := <-sizes:
			if !more {
				sizes = nil
				continue
			}
			fmt.Fprintf(p.Stdout, "%dx%d\r\n", size.Columns, size.Rows)
		case <-gameOver:
			return killed, true
		case <-ctx.Done():
			return 0, false
		}
	}
}

// endOfInput is what a person types at a terminal.
const endOfInput = "\x04"

// perform plays what needs no input.
func (p performance) perform(ctx context.Context, gameOver <-chan struct{}) (code int32, ended bool) {
	result, after := execute(p.Command)
	if len(p.Command) > 2 && p.Command[1] == Say {
		for i, to := range []io.Writer{p.Stdout, p.Stderr}[:min(2, len(p.Command)-2)] {
			fmt.Fprintln(to, p.Command[2+i])
		}
	} else {
		fmt.Fprint(p.Stdout, result.Output)
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
		return result.Code, true
	case <-gameOver:
		return killed, true
	case <-ctx.Done():
		return 0, false
	}
}

// What the simulated game uses: its processor, if it spins, and a little memory.
const (
	spinning   = 500_000_000
	usedMemory = 8 << 20
)

// Usage makes up what a test game uses.
func (s *Sim) Usage(ctx context.Context, id string) (usage engine.Usage, err error) {
	err = s.call(ctx, "Usage", id, func() *engine.Error {
		c, missing := s.find(id)
		if missing != nil {
			return missing
		}
		if c.run == nil {
			return failure(engine.NotRunning, "container %s is not running", id)
		}
		usage = engine.Usage{At: s.now(), Window: time.Second, MemoryBytes: usedMemory, Pids: 1}
		if c.arg(0) == Spin {
			usage.NanoCPUs = spinning
		}
		return nil
	})
	return usage, err
}
