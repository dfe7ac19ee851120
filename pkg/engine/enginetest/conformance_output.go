package enginetest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

func testLogs(t *testing.T, f Fixture) {
	id := f.create(t, f.spec("chess", Say, "first\xff\x1b", "second"))
	require.Empty(t, f.logs(t, id, 10), "it never ran")
	f.start(t, id)
	f.ended(t, id)
	require.ElementsMatch(t, []string{"first", "second"}, strings.Split(strings.TrimSpace(f.logs(t, id, 10)), "\n"), "of both streams, as text")
	last := f.logs(t, id, 1)
	require.Equal(t, 1, strings.Count(last, "\n"), "%q", last)

	f.start(t, id)
	f.ended(t, id)
	require.Equal(t, 4, strings.Count(f.logs(t, id, 10), "\n"), "of all its runs")

	many := f.run(t, f.spec("go", Say, strings.Repeat("x", 2*engine.MaxText), "the end"))
	f.ended(t, many)
	text := f.logs(t, many, 1000)
	require.LessOrEqual(t, len(text), engine.MaxText)
	require.Contains(t, text, "xx")

	f.remove(t, id)
	_, err := f.Engine.Logs(within(t, patience), id, 10)
	requireKind(t, engine.NotFound, err)
}

func (f Fixture) logs(t *testing.T, id string, lines int) string {
	t.Helper()
	text, err := f.Engine.Logs(within(t, patience), id, lines)
	require.NoError(t, err)
	return text
}

func testExec(t *testing.T, f Fixture) {
	id := f.serve(t, f.spec("chess"))
	exec := func(command ...string) engine.ExecResult {
		result, err := f.Engine.Exec(within(t, patience), id, command)
		require.NoError(t, err)
		return result
	}
	said := exec(GamePath, Say, "ready to stop")
	require.Zero(t, said.Code)
	require.Equal(t, "ready to stop", strings.TrimSpace(said.Output))
	for _, code := range []int32{0, 3, 255} {
		require.Equal(t, code, exec(GamePath, Exit, strconv.Itoa(int(code))).Code)
	}
	missing := exec("/no/such/program")
	require.Contains(t, []int32{126, 127}, missing.Code)
	require.Contains(t, missing.Output, "/no/such/program")

	begin := time.Now()
	_, err := f.Engine.Exec(within(t, grace/2), id, []string{GamePath, Exit, "0", "1m"})
	requireKind(t, engine.Timeout, err)
	require.Less(t, time.Since(begin), patience, "a deadline is kept")
	require.Equal(t, engine.StateRunning, f.inspect(t, id).State)
	require.Empty(t, f.logs(t, id, 10), "what is run beside it is not in its log")

	f.stop(t, id, "SIGTERM")
	_, err = f.Engine.Exec(within(t, patience), id, []string{GamePath, Say, "too late"})
	requireKind(t, engine.Failed, err)
	f.remove(t, id)
	_, err = f.Engine.Exec(within(t, patience), id, []string{GamePath, Say, "too late"})
	requireKind(t, engine.NotFound, err)
}
