package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// all is everything that a container wrote.
var all = engine.OutputOptions{Stdout: true, Stderr: true, Tail: -1}

func (f Fixture) output(t *testing.T, id string, options engine.OutputOptions) io.ReadCloser {
	t.Helper()
	output, err := f.Engine.Output(within(t, patience), id, options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = output.Close() })
	return output
}

func (f Fixture) read(t *testing.T, id string, options engine.OutputOptions) []string {
	t.Helper()
	text, err := io.ReadAll(f.output(t, id, options))
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func testOutput(t *testing.T, f Fixture) {
	id := f.create(t, f.spec("chess", Say, "first\x1b", "second"))
	require.Equal(t, []string{""}, f.read(t, id, all), "it never ran")
	f.start(t, id)
	f.ended(t, id)
	require.ElementsMatch(t, []string{"first\x1b", "second"}, f.read(t, id, all), "as it was written")
	require.Equal(t, []string{"first\x1b"}, f.read(t, id, engine.OutputOptions{Stdout: true, Tail: -1}))
	require.Equal(t, []string{"second"}, f.read(t, id, engine.OutputOptions{Stderr: true, Tail: -1}))
	require.Equal(t, []string{""}, f.read(t, id, engine.OutputOptions{Stdout: true, Stderr: true}), "no line of them")
	require.Len(t, f.read(t, id, engine.OutputOptions{Stdout: true, Stderr: true, Tail: 1}), 1)

	stamped := all
	stamped.Timestamps = true
	lines := f.read(t, id, stamped)
	require.Len(t, lines, 2)
	at, text, _ := strings.Cut(lines[1], " ")
	last, err := time.Parse(time.RFC3339Nano, at)
	require.NoError(t, err)
	require.Contains(t, []string{"first\x1b", "second"}, text)
	f.start(t, id)
	f.ended(t, id)
	require.Len(t, f.read(t, id, all), 4, "of all its runs")
	newer := all
	newer.Since = last.Add(time.Nanosecond)
	require.Len(t, f.read(t, id, newer), 2, "of the last one")

	long := strings.Repeat("x", 40<<10) // more than an engine takes at once
	many := f.run(t, f.spec("go", Say, long))
	f.ended(t, many)
	require.Equal(t, []string{long}, f.read(t, many, all))

	f.remove(t, id)
	_, err = f.Engine.Output(within(t, patience), id, all)
	requireKind(t, engine.NotFound, err)
}

func testFollow(t *testing.T, f Fixture) {
	id := f.run(t, f.spec("chess", Chat))
	followed := all
	followed.Follow = true
	output := f.output(t, id, followed)
	lines := bufio.NewScanner(output)
	for n := 1; n <= 20; n++ {
		require.True(t, lines.Scan(), "%v", lines.Err())
		require.Equal(t, "line "+strconv.Itoa(n), lines.Text())
	}
	late := followed
	late.Tail = 0
	later := bufio.NewScanner(f.output(t, id, late))
	require.True(t, later.Scan())
	_, number, _ := strings.Cut(later.Text(), " ")
	n, err := strconv.Atoi(number)
	require.NoError(t, err)
	require.Greater(t, n, 20)

	f.stop(t, id, "SIGKILL")
	for lines.Scan() { // to the end of the run
		continue
	}
	require.NoError(t, lines.Err())
	require.Equal(t, f.read(t, id, all), f.read(t, id, followed), "what does not run has its end")
}

func testFollowEnds(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess"))
	ctx, cancel := context.WithCancel(within(t, patience))
	followed := all
	followed.Follow = true
	output, err := f.Engine.Output(ctx, id, followed)
	require.NoError(t, err)
	defer output.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := output.Read(make([]byte, 1))
		ended <- err
	}()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// execute runs a program to its end.
func (f Fixture) execute(t *testing.T, id string, program engine.Program) (code int32, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	program.Stdout, program.Stderr = &out, &errs
	code, err := f.Engine.Run(within(t, patience), id, program)
	require.NoError(t, err)
	return code, out.String(), errs.String()
}

func testRun(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess"))
	code, stdout, stderr := f.execute(t, id, engine.Program{Command: []string{GamePath, Say, "first", "second"}})
	require.Zero(t, code)
	require.Equal(t, []string{"first\n", "second\n"}, []string{stdout, stderr})
	for _, code := range []int32{0, 3, 255} {
		got, _, _ := f.execute(t, id, engine.Program{Command: []string{GamePath, Exit, strconv.Itoa(int(code))}})
		require.Equal(t, code, got)
	}
	code, stdout, stderr = f.execute(t, id, engine.Program{Command: []string{"/no/such/program"}})
	require.Contains(t, []int32{126, 127}, code)
	require.Contains(t, stdout+stderr, "/no/such/program")
	code, err := f.Engine.Run(within(t, patience), id, engine.Program{Command: []string{GamePath, Say, "to nobody"}})
	require.NoError(t, err)
	require.Zero(t, code)
	require.Empty(t, f.logs(t, id, 10), "it is not in the game's log")

	f.stop(t, id, "SIGTERM")
	_, err = f.Engine.Run(within(t, patience), id, engine.Program{Command: []string{GamePath, Say, "too late"}})
	requireKind(t, engine.NotRunning, err)
	f.remove(t, id)
	_, err = f.Engine.Run(within(t, patience), id, engine.Program{Command: []string{GamePath, Say, "too late"}})
	requireKind(t, engine.NotFound, err)
}

func testRunInput(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess"))
	echo := []string{GamePath, Echo}
	code, stdout, _ := f.execute(t, id, engine.Program{Command: echo, Stdin: strings.NewReader("to be said again")})
	require.Zero(t, code)
	require.Equal(t, "to be said again", stdout)
	code, stdout, _ = f.execute(t, id, engine.Program{Command: echo})
	require.Zero(t, code, "without input it ends at once")
	require.Empty(t, stdout)
	code, _, _ = f.execute(t, id, engine.Program{Command: []string{GamePath, Exit, "3"}, Stdin: strings.NewReader("not read")})
	require.EqualValues(t, 3, code)

	input, typed := io.Pipe()
	heard, answers := io.Pipe()
	done := make(chan error, 1)
	ctx := within(t, patience)
	go func() {
		_, err := f.Engine.Run(ctx, id, engine.Program{Command: echo, Stdin: input, Stdout: answers})
		done <- err
	}()
	for _, text := range []string{"one", "two"} { // at once, and not at the end
		_, err := io.WriteString(typed, text)
		require.NoError(t, err)
		answer := make([]byte, len(text))
		_, err = io.ReadFull(heard, answer)
		require.NoError(t, err)
		require.Equal(t, text, string(answer))
	}
	require.NoError(t, typed.Close())
	require.NoError(t, <-done)
}

func testRunTerminal(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess"))
	input, typed := io.Pipe()
	heard, screen := io.Pipe()
	sizes, done := make(chan engine.TerminalSize), make(chan int32, 1)
	ctx := within(t, patience)
	go func() {
		code, err := f.Engine.Run(ctx, id, engine.Program{
			Command: []string{GamePath, Size}, Terminal: true, Sizes: sizes, Stdin: input, Stdout: screen,
		})
		if err != nil {
			code = -1
		}
		done <- code
		_ = screen.CloseWithError(err)
	}()
	lines := bufio.NewScanner(heard)
	for _, size := range []engine.TerminalSize{{Columns: 80, Rows: 24}, {Columns: 132, Rows: 43}} {
		sizes <- size
		told := strconv.Itoa(int(size.Columns)) + "x" + strconv.Itoa(int(size.Rows))
		for lines.Scan() && lines.Text() != told { // it began with another one
			continue
		}
		require.Equal(t, told, lines.Text(), "%v", lines.Err())
	}
	go func() { _, _ = io.Copy(io.Discard, heard) }() // what the terminal shows of the input
	_, err := io.WriteString(typed, endOfInput)
	require.NoError(t, err)
	require.Zero(t, <-done)
	require.NoError(t, typed.Close())
}

// Whoever leaves is not waited for, and neither is the game.
func testRunLeft(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess"))
	input, typed := io.Pipe()
	defer typed.Close()
	ctx, cancel := context.WithCancel(within(t, patience))
	heard, screen := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := f.Engine.Run(ctx, id, engine.Program{Command: []string{GamePath, Echo}, Stdin: input, Stdout: screen})
		done <- err
	}()
	_, err := io.WriteString(typed, "x")
	require.NoError(t, err)
	_, err = heard.Read(make([]byte, 1))
	require.NoError(t, err)
	cancel()
	requireKind(t, engine.Timeout, <-done)
	require.Equal(t, engine.StateRunning, f.inspect(t, id).State)

	silent, _ := io.Pipe()
	defer silent.Close()
	began := make(chan struct{})
	ended := make(chan struct{})
	later := within(t, patience)
	go func() {
		defer close(ended)
		close(began)
		_, _ = f.Engine.Run(later, id, engine.Program{Command: []string{GamePath, Echo}, Stdin: silent})
	}()
	<-began
	f.stop(t, id, "SIGTERM")
	<-ended // with the game, or it came too late
}

func testUsage(t *testing.T, f Fixture) {
	id := f.run(t, f.spec("chess", Spin))
	usage, err := f.Engine.Usage(within(t, patience), id)
	require.NoError(t, err)
	require.NotZero(t, usage.At)
	require.Positive(t, usage.Window)
	require.InDelta(t, 500_000_000, usage.NanoCPUs, 450_000_000, "up to its limit, on a machine that has time for it")
	require.Positive(t, usage.MemoryBytes)
	require.Less(t, usage.MemoryBytes, int64(64<<20), "its limit")
	require.Positive(t, usage.Pids)

	quiet := f.serve(t, f.spec("go"))
	usage, err = f.Engine.Usage(within(t, patience), quiet)
	require.NoError(t, err)
	require.Less(t, usage.NanoCPUs, int64(100_000_000))

	f.stop(t, id, "SIGKILL")
	_, err = f.Engine.Usage(within(t, patience), id)
	requireKind(t, engine.NotRunning, err)
	f.remove(t, id)
	_, err = f.Engine.Usage(within(t, patience), id)
	requireKind(t, engine.NotFound, err)
}
