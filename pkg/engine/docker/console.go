package docker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"galaxy.io/runtime-manager/pkg/engine"
)

// beginTimeout is how long the engine may take to begin what then lasts: it
// waits for the container's lock.
const beginTimeout = 20 * time.Second

var _ engine.Console = (*Client)(nil)

// Output reads the log. The engine ends a stream that it follows with the run.
func (c *Client) Output(ctx context.Context, id string, options engine.OutputOptions) (io.ReadCloser, error) {
	asked := container.LogsOptions{
		ShowStdout: options.Stdout, ShowStderr: options.Stderr, Follow: options.Follow, Timestamps: options.Timestamps, Tail: "all",
	}
	if options.Tail >= 0 {
		asked.Tail = strconv.Itoa(options.Tail)
	}
	if !options.Since.IsZero() {
		asked.Since = options.Since.Format(time.RFC3339Nano)
	}
	ctx, cancel := context.WithCancel(ctx)
	tooLate := time.AfterFunc(beginTimeout, cancel)
	stream, err := c.sdk.ContainerLogs(ctx, id, asked)
	if !tooLate.Stop() && err == nil {
		_ = stream.Close() // it is cut off already
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, classify("read the log of container "+short(id), err)
	}
	return &output{stream: stream, cancel: cancel}, nil
}

// output is both streams of a container in one. Each piece of them comes behind a
// head: which stream in the first byte, how much in the last four.
type output struct {
	stream io.ReadCloser
	cancel context.CancelFunc
	left   uint32 // of the piece
}

func (o *output) Read(p []byte) (int, error) {
	for o.left == 0 {
		var head [8]byte
		if _, err := io.ReadFull(o.stream, head[:]); err != nil {
			return 0, err
		}
		o.left = binary.BigEndian.Uint32(head[4:])
		if head[0] == byte(stdcopy.Systemerr) {
			text, err := io.ReadAll(io.LimitReader(o.stream, min(int64(o.left), engine.MaxText)))
			return 0, errors.Join(errors.New(engine.Line(text)), err)
		}
	}
	n, err := o.stream.Read(p[:min(len(p), int(o.left))])
	if o.left -= uint32(n); o.left > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (o *output) Close() error {
	o.cancel()
	return o.stream.Close()
}

// Run runs a program beside the game. The engine cannot end it: when the context
// ends, the program's input does, and what it writes goes nowhere.
func (c *Client) Run(ctx context.Context, id string, program engine.Program) (int32, error) {
	op := "run a program in container " + short(id)
	exec, stream, err := c.begin(ctx, id, program)
	if errdefs.IsConflict(err) { // paused is not running, too
		return 0, &engine.Error{Op: op, Kind: engine.NotRunning, Err: clean(err)}
	}
	if err != nil {
		return 0, classify(op, err)
	}
	err = c.converse(ctx, exec, stream, program)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return 0, classify(op, err)
	}
	code, err := c.execCode(ctx, exec)
	if err != nil {
		return 0, classify(op, err)
	}
	return code, nil
}

// begin starts a program and returns its id and its streams.
func (c *Client) begin(ctx context.Context, id string, program engine.Program) (string, types.HijackedResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	made, err := c.sdk.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: program.Command, Tty: program.Terminal, AttachStdin: program.Stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return "", types.HijackedResponse{}, err
	}
	stream, err := c.sdk.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{Tty: program.Terminal})
	return made.ID, stream, err
}

// converse carries the streams until the program closes its own, or ctx ends.
func (c *Client) converse(ctx context.Context, exec string, stream types.HijackedResponse, program engine.Program) error {
	ctx, cancel := context.WithCancel(ctx)
	var resizing sync.WaitGroup
	defer resizing.Wait()
	defer cancel()
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Close)() // a connection of its own, which knows no context
	if program.Terminal {
		resizing.Go(func() { c.resize(ctx, exec, program.Sizes) })
	}
	if program.Stdin != nil {
		go func() {
			_, _ = io.Copy(stream.Conn, program.Stdin) // a program that ended reads no more
			_ = stream.CloseWrite()                    // which it learns by this, if it did not
		}()
	}
	stdout, stderr := orNowhere(program.Stdout), orNowhere(program.Stderr)
	var err error
	if program.Terminal {
		_, err = io.Copy(stdout, stream.Reader)
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, stream.Reader)
	}
	return err
}

func orNowhere(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// resize passes a terminal's sizes on. One that is not taken costs the program
// its looks alone.
func (c *Client) resize(ctx context.Context, exec string, sizes <-chan engine.TerminalSize) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, more := <-sizes:
			if !more {
				return
			}
			_ = c.sdk.ContainerExecResize(ctx, exec, container.ResizeOptions{Width: uint(size.Columns), Height: uint(size.Rows)})
		}
	}
}

// usageWindow is the least time that a rate is taken over. An engine of API 1.41
// takes a second for each look.
const usageWindow = 200 * time.Millisecond

// Usage looks twice: the engine tells of processor time alone.
func (c *Client) Usage(ctx context.Context, id string) (engine.Usage, error) {
	op := "measure container " + short(id)
	first, err := c.stats(ctx, id)
	if err != nil {
		return engine.Usage{}, classify(op, err)
	}
	if !first.Read.IsZero() {
		err = pause(ctx, usageWindow)
	}
	if err != nil {
		return engine.Usage{}, classify(op, err)
	}
	second, err := c.stats(ctx, id)
	if err != nil {
		return engine.Usage{}, classify(op, err)
	}
	if first.Read.IsZero() || second.Read.IsZero() {
		return engine.Usage{}, &engine.Error{Op: op, Kind: engine.NotRunning, Err: fmt.Errorf("container %s is not running", short(id))}
	}
	return toUsage(first, second), nil
}

func (c *Client) stats(ctx context.Context, id string) (stats container.StatsResponse, err error) {
	answer, err := c.sdk.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return stats, err
	}
	defer answer.Body.Close()
	return stats, json.NewDecoder(answer.Body).Decode(&stats)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
