package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Exec runs a program inside a container and returns how it ended, and what it
// wrote. An error says that it could not be run, or that its end is not known.
type Exec func(ctx context.Context, container string, command []string) (code int32, output string, err error)

// ErrNotMade is what a check ends with that could not be made: it tells nothing
// of the game.
var ErrNotMade = errors.New("the check could not be made")

// programs runs the programs of exec probes. An engine cannot end one: a program
// that outlives its check goes on, and until it has ended none is begun in its
// place, so that a game that hangs does not fill up with them.
type programs struct {
	exec    Exec
	answers func() bool     // the engine does
	life    context.Context // of those that outlive their checks
	end     context.CancelFunc
	waiting sync.WaitGroup

	mu      sync.Mutex
	overdue map[string]int
}

func newPrograms(exec Exec, answers func() bool) *programs {
	p := &programs{exec: exec, answers: answers, overdue: map[string]int{}}
	p.life, p.end = context.WithCancel(context.Background())
	return p
}

// abandon stops to wait for the programs that go on.
func (p *programs) abandon() {
	p.end()
	p.waiting.Wait()
}

// check succeeds when the program ends with 0 before the context does. Failures
// while the engine does not answer are the engine's.
func (p *programs) check(ctx context.Context, container string, action v1alpha1.ExecAction) error {
	if p.answers() {
		err := p.try(ctx, container, action)
		if err == nil || p.answers() {
			return err
		}
	}
	return fmt.Errorf("%w: the engine does not answer", ErrNotMade)
}

func (p *programs) try(ctx context.Context, container string, action v1alpha1.ExecAction) error {
	program := strings.Join(append([]string{container}, action.Command...), "\x00")
	if p.goesOn(program) {
		return fmt.Errorf("%s of an earlier check still runs", action.Command[0])
	}
	ended := make(chan error, 1)
	p.waiting.Go(func() { ended <- p.run(container, action.Command) })
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		p.outlives(program, ended)
		return plain(ctx.Err())
	}
}

func (p *programs) run(container string, command []string) error {
	code, output, err := p.exec(p.life, container, command)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotMade, err)
	case code == 0:
		return nil
	}
	text := fmt.Sprintf("%s ended with exit code %d", command[0], code)
	if line, _, _ := strings.Cut(strings.TrimSpace(output), "\n"); line != "" {
		text += ": " + shorten(line)
	}
	return errors.New(text)
}

func (p *programs) goesOn(program string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.overdue[program] > 0
}

// outlives keeps a program from being begun again before it ended.
func (p *programs) outlives(program string, ended <-chan error) {
	p.mu.Lock()
	p.overdue[program]++
	p.mu.Unlock()
	p.waiting.Go(func() {
		<-ended //nolint:errcheck // how it ended comes too late
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.overdue[program]--; p.overdue[program] == 0 {
			delete(p.overdue, program)
		}
	})
}
