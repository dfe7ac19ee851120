package docker

import (
	"context"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Logs reads the log to its end, and keeps the end of it.
func (c *Client) Logs(ctx context.Context, id string, lines int) (string, error) {
	op := "read the log of container " + short(id)
	stream, err := c.sdk.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines)})
	if err != nil {
		return "", classify(op, err)
	}
	defer stream.Close()
	var written tail
	if _, err := stdcopy.StdCopy(&written, &written, stream); err != nil {
		return "", classify(op, err)
	}
	return engine.Text(written), nil
}

// Exec runs a program beside the game. The engine cannot end it: one that
// outlives the context goes on, and what it does is not told.
func (c *Client) Exec(ctx context.Context, id string, command []string) (engine.ExecResult, error) {
	op := "run a program in container " + short(id)
	made, err := c.sdk.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return engine.ExecResult{}, classify(op, err)
	}
	stream, err := c.sdk.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return engine.ExecResult{}, classify(op, err)
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Close)() // a connection of its own, which knows no context
	var written tail
	_, err = stdcopy.StdCopy(&written, &written, stream.Reader)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return engine.ExecResult{}, classify(op, err)
	}
	code, err := c.execCode(ctx, made.ID)
	if err != nil {
		return engine.ExecResult{}, classify(op, err)
	}
	return engine.ExecResult{Code: code, Output: engine.Text(written)}, nil
}

// execCode is the exit code of a program whose output ended: the engine may
// learn of its end a moment later.
func (c *Client) execCode(ctx context.Context, exec string) (int32, error) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		found, err := c.sdk.ContainerExecInspect(ctx, exec)
		if err != nil {
			return 0, err
		}
		if !found.Running {
			return int32(found.ExitCode), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ticker.C:
		}
	}
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if len(*t) > 2*engine.MaxText {
		*t = append((*t)[:0], (*t)[len(*t)-engine.MaxText:]...)
	}
	return len(p), nil
}
