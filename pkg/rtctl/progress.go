package rtctl

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/kubectl/pkg/util/term"
)

// progress tells how wishes go on. Where one is watched on a terminal it is one
// line that turns, else a line for each change.
type progress struct {
	out, errOut io.Writer
	turns       bool
	width       func() int // of the terminal, 0 if it is not known
	stop        chan struct{}
	stopped     sync.WaitGroup

	mu    sync.Mutex
	told  map[string]string // by game
	line  string            // that turns
	began time.Time
	turn  int
}

const turnEvery = 100 * time.Millisecond

var wheel = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// newProgress is for several games, or for one alone.
func newProgress(streams genericiooptions.IOStreams, alone bool) *progress {
	p := &progress{
		out: streams.Out, errOut: streams.ErrOut, width: func() int { return widthOf(streams.Out) },
		turns: alone && printers.IsTerminal(streams.Out) && os.Getenv("TERM") != "dumb",
		stop:  make(chan struct{}), told: map[string]string{}, began: time.Now(),
	}
	if p.turns {
		p.stopped.Go(p.keepTurning)
	}
	return p
}

func (p *progress) keepTurning() {
	ticker := time.NewTicker(turnEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.turn++
			p.draw()
			p.mu.Unlock()
		}
	}
}

// close ends the turning.
func (p *progress) close() {
	close(p.stop)
	p.stopped.Wait()
}

// clear is what a terminal begins the line anew by.
const clear = "\r\x1b[K"

func (p *progress) draw() {
	if p.line == "" {
		return
	}
	line := []rune(fmt.Sprintf("%c %s %s", wheel[p.turn%len(wheel)], time.Since(p.began).Round(turnEvery), p.line))
	if width := p.width(); width > 0 && len(line) >= width {
		line = append(line[:width-2], '…') // a line that wraps cannot be taken back
	}
	fmt.Fprint(p.out, clear, string(line))
}

func widthOf(out io.Writer) int {
	if size := (term.TTY{Out: out}).GetSize(); size != nil {
		return int(size.Width)
	}
	return 0
}

// tell is that a game is at something, which may be what it was at before.
func (p *progress) tell(game, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := oneLine(game + ": " + what)
	if p.told[game] == line {
		return
	}
	p.told[game] = line
	if p.turns {
		p.line = line
		p.draw()
		return
	}
	fmt.Fprintln(p.out, line)
}

// end is how it came out for a game.
func (p *progress) end(game, outcome string, well bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turns {
		p.line = ""
		fmt.Fprint(p.out, clear)
	}
	out := p.out
	if !well {
		out = p.errOut
	}
	fmt.Fprintln(out, oneLine(game+": "+outcome))
}
