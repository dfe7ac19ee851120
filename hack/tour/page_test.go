package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const page = "# A page\n\n```console\n$ ls\na  b\n$ make it \\\n    so\n$ cat <<E\n> x\n> E\nx\n```\n\n" +
	"```yaml\n$ no\n```\n\n<!-- not typed: it takes a week -->\n\n```console\n$ sleep 604800\n```\n\n```console\n$ true\n```\n"

func TestSteps(t *testing.T) {
	require.Equal(t, []step{
		{line: 4, command: "ls", prints: []string{"a  b"}},
		{line: 6, command: "make it \\\n    so"},
		{line: 8, command: "cat <<E\nx\nE", prints: []string{"x"}},
		{line: 25, command: "true"},
	}, steps(page))
}

func TestShown(t *testing.T) {
	for _, row := range []struct {
		want, printed string
		is            bool
	}{
		{"chess  Running   67s", "chess   Running 3m5s", true},
		{"chess  Running   67s", "chess  Stopped   67s", false},
		{"restarts 1", "restarts 2", false},
		{`{"turn":7,"startedAt":"2026-11-23T22:52:37.046219439Z"}`, `{"turn":7,"startedAt":"2026-11-24T01:02:03Z"}`, true},
		{"2026-11-25 17:21:04   create", "2027-01-05 07:00:00   create", true},
		{"container chess.default.87173db0", "container chess.default.0a1b2c3d", true},
		{"pull …: refused", "pull 127.0.0.1:9/x: connection refused", false},
		{"pull …: refused", "pull 127.0.0.1:9/x: connection: refused", true},
		{"a\n…\nz", "a\nb\nc\nz", true},
		{"a\n…\nz", "a\nb", false},
		{"a", "a\nb", false},
		{"a\n…", "a\nb", true},
		{"p (1)", "p 1", false},
	} {
		require.Equal(t, row.is, shown(strings.Split(row.want, "\n"), strings.Split(row.printed, "\n")), "%q %q", row.want, row.printed)
	}
}

func TestWhatOnlyLooksIsTypedAgain(t *testing.T) {
	s, err := startShell()
	require.NoError(t, err)
	defer s.close()
	dir := t.TempDir()
	require.NoError(t, s.take(step{command: "cd " + dir}, time.Minute))
	require.NoError(t, s.take(step{command: "( until [ -e asked ]; do :; done; touch told ) &"}, time.Minute))
	require.NoError(t, s.take(step{command: "ls told; touch asked", prints: []string{"told"}}, time.Minute), "once the page's line is there")
}

func TestWhatIsNotShownIsAnError(t *testing.T) {
	s, err := startShell()
	require.NoError(t, err)
	defer s.close()
	require.ErrorContains(t, s.take(step{command: "echo a", prints: []string{"b"}}, time.Minute), "printed\n\ta")
	require.ErrorContains(t, s.take(step{command: "false"}, time.Minute), "ended with 1")
	require.ErrorContains(t, s.take(step{command: "exit"}, time.Minute), "the shell ended")
}
