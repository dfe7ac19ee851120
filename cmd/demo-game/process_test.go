package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// asGame makes the test binary be the game, so that a test can start and end it.
const asGame = "DEMO_GAME_UNDER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asGame) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func command(dir string, env ...string) *exec.Cmd {
	game := exec.Command(os.Args[0])
	game.Env = append([]string{asGame + "=yes", "GAME_STATE_PATH=" + dir, "PORT=0"}, env...)
	return game
}

// start runs the game on a free port and waits until it listens there.
func start(t *testing.T, dir string) (game *exec.Cmd, url string) {
	game = command(dir)
	out, err := game.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, game.Start())
	t.Cleanup(func() { _ = game.Process.Kill() }) // no error if it has ended
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	port := line[strings.LastIndex(line, ":")+1:]
	return game, "http://127.0.0.1:" + strings.TrimSpace(port)
}

func TestTermEndsTheGameAndKeepsItsTurns(t *testing.T) {
	dir := t.TempDir()
	game, url := start(t, dir)
	require.Equal(t, http.StatusOK, post(t, url+"/api/v1/turn").StatusCode)
	require.NoError(t, game.Process.Signal(syscall.SIGTERM))
	require.NoError(t, game.Wait(), "a game that was asked to stop exits with 0")

	_, url = start(t, dir)
	var now status
	require.NoError(t, json.NewDecoder(post(t, url+"/api/v1/turn").Body).Decode(&now))
	require.Equal(t, 2, now.Turn)
}

func TestCrashAfterExitsAsTold(t *testing.T) {
	game := command(t.TempDir(), "CRASH_AFTER=10ms", "EXIT_CODE=7")
	require.Error(t, game.Run())
	require.Equal(t, 7, game.ProcessState.ExitCode())
}

func TestCheckEndsAsTheGameIs(t *testing.T) {
	_, url := start(t, t.TempDir())
	check := func() error {
		program := exec.Command(os.Args[0], "check")
		program.Env = []string{asGame + "=yes", "PORT=" + url[strings.LastIndex(url, ":")+1:]}
		return program.Run()
	}
	require.NoError(t, check())
	post(t, url+"/misbehave/fail-health")
	require.Error(t, check())
}

func TestWrongSettingsEndTheGameAtOnce(t *testing.T) {
	for _, wrong := range []string{"CRASH_AFTER=soon", "TURN_EVERY=-1s", "PORT=none", "GAME_STATE_PATH=" + filepath.Join(os.Args[0], "no-directory")} {
		t.Run(wrong, func(t *testing.T) {
			game := command(t.TempDir(), wrong)
			out, err := game.CombinedOutput()
			require.Error(t, err)
			require.Equal(t, 1, game.ProcessState.ExitCode(), string(out))
			require.Contains(t, string(out), "demo-game: ")
		})
	}
}
