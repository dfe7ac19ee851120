package engine

import (
	"context"
	"io"
	"time"
)

// Console reaches into a container for people who look after its game. What it
// begins lasts as long as its context, and answers with an *Error.
type Console interface {
	// Output reads what a container wrote, both of its streams as they came and as
	// bytes: to the end of what there is by now, or, followed, to the end of the
	// run. Its reads fail once the context ended. It is for the caller to close.
	Output(ctx context.Context, id string, options OutputOptions) (io.ReadCloser, error)
	// Run runs a program inside a running container, as the game's user, until it
	// ends, and returns its exit code. A container that does not run is NotRunning;
	// a program that cannot be run ends with 126 or 127, as in a shell. When the
	// context ends first the program loses its streams and goes on: an engine has
	// no way to end it.
	Run(ctx context.Context, id string, program Program) (code int32, err error)
	// Usage measures what a running container uses, for the moment that a rate
	// takes. A container that does not run is NotRunning.
	Usage(ctx context.Context, id string) (Usage, error)
}

// OutputOptions choose among what a container wrote.
type OutputOptions struct {
	// Stdout and Stderr are the streams to read.
	Stdout bool
	Stderr bool
	// Follow goes on with what is written from now on.
	Follow bool
	// Tail is how many of the last lines to begin with; negative is all.
	Tail int
	// Since leaves out what is older, by the engine's clock.
	Since time.Time
	// Timestamps puts the time before each line, as RFC 3339 with nanoseconds.
	Timestamps bool
}

// Program is what to run inside a container, and its streams.
type Program struct {
	Command []string
	// Stdin is read to its end, or the program's; nil is none. A Read that is under
	// way when the program ends is left behind: whoever gave Stdin ends it.
	Stdin io.Reader
	// Stdout and Stderr are written to, one at a time; nil is nowhere. A terminal
	// writes to Stdout alone.
	Stdout io.Writer
	Stderr io.Writer
	// Terminal runs it on one.
	Terminal bool
	// Sizes are the terminal's, as they change. The channel may be nil or closed.
	Sizes <-chan TerminalSize
}

// TerminalSize is that of a terminal, in characters.
type TerminalSize struct {
	Columns uint16
	Rows    uint16
}

// Usage is what a container used while it was looked at.
type Usage struct {
	// At is the end of that time and Window its length, by the engine's clock.
	At     time.Time
	Window time.Duration
	// NanoCPUs is the mean over Window, in units of 1e-9 CPUs.
	NanoCPUs int64
	// MemoryBytes leaves out what the kernel would give back first: files that
	// nobody looks at.
	MemoryBytes int64
	Pids        int64
	// What went over the network and to block devices since the container started,
	// in bytes.
	ReceivedBytes int64
	SentBytes     int64
	ReadBytes     int64
	WrittenBytes  int64
}
