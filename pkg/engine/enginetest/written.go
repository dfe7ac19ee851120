package enginetest

import (
	"context"
	"fmt"
	"io"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// written is what a container wrote, and who waits for more of it.
type written struct {
	lines []line
	grown chan struct{} // closed at the next line; nil while nobody waits
}

type line struct {
	at     time.Time
	stderr bool
	text   string // with its end
}

func (w *written) add(l line) {
	w.lines = append(w.lines, l)
	if w.grown != nil {
		close(w.grown)
		w.grown = nil
	}
}

// more is closed once there is another line.
func (w *written) more() <-chan struct{} {
	if w.grown == nil {
		w.grown = make(chan struct{})
	}
	return w.grown
}

// last are the last lines; a negative number is all of them.
func (w *written) last(n int) []line {
	if n < 0 || n > len(w.lines) {
		n = len(w.lines)
	}
	return w.lines[len(w.lines)-n:]
}

// write has a container write its texts by turns to stdout and to stderr. Called
// with the lock held.
func (s *Sim) write(c *simContainer, texts ...string) {
	for i, text := range texts {
		c.log.add(line{at: s.now(), stderr: i%2 == 1, text: text + "\n"})
	}
}

// chat writes a line, and the next one after a while.
func (s *Sim) chat(c *simContainer, n int) {
	c.log.add(line{at: s.now(), stderr: n%2 == 0, text: fmt.Sprintf("line %d\n", n)})
	run := c.run
	time.AfterFunc(ChatEvery, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.run == run {
			s.chat(c, n+1)
		}
	})
}

// Output reads what the test game wrote.
func (s *Sim) Output(ctx context.Context, id string, options engine.OutputOptions) (io.ReadCloser, error) {
	o := &output{ctx: ctx, sim: s, options: options}
	err := s.call(ctx, "Output", id, func() (missing *engine.Error) {
		if o.of, missing = s.find(id); missing != nil {
			return missing
		}
		o.run, o.next = o.of.run, len(o.of.log.lines)-len(o.of.log.last(options.Tail))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// output reads on where it stopped.
type output struct {
	ctx     context.Context // of the call that it came from, as a response's body has one
	sim     *Sim
	options engine.OutputOptions
	of      *simContainer
	run     *run // to follow; nil if there was none
	next    int  // line
	rest    string
}

func (o *output) Read(p []byte) (int, error) {
	for o.rest == "" {
		if o.ctx.Err() != nil {
			return 0, o.ctx.Err()
		}
		wait := o.advance()
		switch {
		case o.rest != "":
		case wait == nil:
			return 0, io.EOF
		default:
			select {
			case <-wait:
			case <-o.run.ended:
			case <-o.ctx.Done():
			}
		}
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// advance takes the next line, or returns what to wait for; nil is the end.
func (o *output) advance() (wait <-chan struct{}) {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	log := &o.of.log
	for o.next < len(log.lines) {
		l := log.lines[o.next]
		o.next++
		if (l.stderr && !o.options.Stderr) || (!l.stderr && !o.options.Stdout) || l.at.Before(o.options.Since) {
			continue
		}
		if o.options.Timestamps {
			o.rest = l.at.Format(time.RFC3339Nano) + " "
		}
		o.rest += l.text
		return nil
	}
	if !o.options.Follow || o.run == nil || o.of.run != o.run {
		return nil
	}
	return log.more()
}

func (o *output) Close() error { return nil }
