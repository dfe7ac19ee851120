package rtctl

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

const playedImage = "galaxy/demo-game:1.0.0"

// TestConsole runs the verbs that reach into games on one real API server, and a
// simulated engine.
func TestConsole(t *testing.T) {
	sim := enginetest.NewSim(playedImage)
	server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.Console = &apiserver.Console{Engine: sim, View: func(game engine.GameID) engine.View { return view(sim, game) }}
	})
	here(t)
	t.Setenv("KUBECONFIG", server.Kubeconfig())
	play(t, server, sim, "chess", enginetest.Say, "first", "second")
	play(t, server, sim, "go", enginetest.Spin)
	play(t, server, sim, "shogi")
	declare(t, server, "bare")
	t.Run("logs", testLogs)
	t.Run("logs that are followed", func(t *testing.T) { testFollowedLogs(t, server, sim) })
	t.Run("exec", testExec)
	t.Run("top", testTop)
	t.Run("top of what hangs", func(t *testing.T) { testTopFailures(t, sim) })
}

// view is what a mirror has of a game.
func view(sim *enginetest.Sim, game engine.GameID) engine.View {
	view := engine.View{Seen: true}
	listed, _ := sim.List(context.Background(), "ours")
	for _, l := range listed {
		if c, err := sim.Inspect(context.Background(), l.ID); err == nil && c.Game == game {
			view.Containers = append(view.Containers, c)
		}
	}
	slices.SortFunc(view.Containers, func(a, b engine.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return view
}

func declare(t *testing.T, server *apiservertest.Server, name string) {
	t.Helper()
	_, err := records(t, server, "gameruntimes").Namespace("default").Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "runtime.galaxy.io/v1alpha1", "kind": "GameRuntime",
		"metadata": map[string]any{"name": name, "namespace": "default", "labels": map[string]any{"game": name}},
		"spec":     map[string]any{"image": playedImage},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// play declares a game and runs it.
func play(t *testing.T, server *apiservertest.Server, sim *enginetest.Sim, name string, args ...string) (id string) {
	t.Helper()
	declare(t, server, name)
	require.NoError(t, sim.EnsureNetwork(t.Context(), "games", "ours"))
	id, err := sim.Create(t.Context(), engine.ContainerSpec{
		Name: name, Image: playedImage, Network: "games", Args: args,
		Labels: map[string]string{
			v1alpha1.LabelInstallation: "ours", v1alpha1.LabelNamespace: "default", v1alpha1.LabelGame: name,
		},
		Resources: engine.Resources{MemoryBytes: 64 << 20},
	})
	require.NoError(t, err)
	require.NoError(t, sim.Start(t.Context(), id))
	return id
}

func testLogs(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "first\nsecond\n"},
		{"--tail 1", "second\n"},
		{"--tail 0", ""},
		{"--since 1h", "first\nsecond\n"},
		{"--since 2126-01-01T00:00:00Z", ""},
		{"--limit-bytes 3", "fir"},
		{"-f", "first\nsecond\n"},
	} {
		stdout, stderr, err := rtctl(t, append([]string{"logs", "chess"}, strings.Fields(c.args)...)...)
		require.NoError(t, err, c.args)
		require.Equal(t, c.want, stdout, c.args)
		require.Empty(t, stderr)
	}
	stdout, _, err := rtctl(t, "logs", "chess", "--timestamps", "--tail", "1")
	require.NoError(t, err)
	at, text, _ := strings.Cut(stdout, " ")
	require.Equal(t, "second\n", text)
	_, err = time.Parse(time.RFC3339Nano, at)
	require.NoError(t, err)
	for args, want := range map[string]string{
		"":                      "logs takes the name of one game, got 0",
		"none":                  "default/none: there is no such game: rtctl get gr -A lists all games",
		"bare":                  "default/bare: it has no container: rtctl describe gr bare tells why",
		"chess --tail 10001":    "must be a number from 0 to 10000",
		"chess --limit-bytes 0": "",
		"chess --since monday":  "--since: must be a duration",
	} {
		_, _, err := rtctl(t, append([]string{"logs"}, strings.Fields(args)...)...)
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
	_, _, err = rtctl(t, "logs", "chess", "--kubeconfig", unreachable(t))
	require.ErrorContains(t, err, "no manager answers at https://127.0.0.1:1")
}

// What is followed comes at once, and ends with the game or with its reader.
func testFollowedLogs(t *testing.T, server *apiservertest.Server, sim *enginetest.Sim) {
	id := play(t, server, sim, "chatter", enginetest.Chat)
	for _, end := range []string{"reader", "game"} {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		heard, out := io.Pipe()
		ended := make(chan error, 1)
		command := Command(genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: out, ErrOut: io.Discard}, "v1")
		command.SetArgs([]string{"logs", "-f", "chatter", "--tail", "1"})
		go func() {
			err := command.ExecuteContext(ctx)
			_ = out.Close()
			ended <- err
		}()
		_, err := io.ReadFull(heard, make([]byte, 100))
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, heard) }()
		if end == "game" {
			sim.Kill(id, enginetest.Ending{})
			require.NoError(t, <-ended)
			return
		}
		leave()
		require.ErrorIs(t, <-ended, context.Canceled)
	}
}

func testExec(t *testing.T) {
	run := func(stdin string, args ...string) (stdout, stderr string, code int) {
		var out, errs bytes.Buffer
		streams := genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errs}
		code = Main(t.Context(), streams, "v1", append([]string{"rtctl", "exec"}, args...))
		return out.String(), errs.String(), code
	}
	stdout, stderr, code := run("", "shogi", "--", enginetest.GamePath, enginetest.Say, "first", "second")
	require.Zero(t, code)
	require.Equal(t, []string{"first\n", "second\n"}, []string{stdout, stderr})
	stdout, stderr, code = run("said again", "-i", "shogi", "--", enginetest.GamePath, enginetest.Echo)
	require.Zero(t, code, stderr)
	require.Equal(t, "said again", stdout)
	stdout, stderr, code = run("said again", "shogi", "--", enginetest.GamePath, enginetest.Echo)
	require.Zero(t, code, stderr)
	require.Empty(t, stdout, "nobody said that it has an input")
	_, stderr, code = run("", "shogi", "--", enginetest.GamePath, enginetest.Exit, "42")
	require.Equal(t, 42, code)
	require.Equal(t, "rtctl: the program ended with exit code 42\n", stderr)
	stdout, stderr, code = run("x", "-it", "shogi", "--", enginetest.GamePath, enginetest.Echo)
	require.Zero(t, code)
	require.Equal(t, "x", stdout)
	require.Contains(t, stderr, "not a terminal")

	for args, want := range map[string]string{
		"shogi":                "exec takes the name of one game, and after -- a program and its arguments",
		"shogi " + "/game say": "after -- a program",
		"none -- /game":        "default/none: there is no such game",
		"bare -- /game":        "default/bare: it has no container",
		"chess -- /game":       "default/chess: it does not run",
		"shogi --kubeconfig " + unreachable(t) + " -- /game": "no manager answers at https://127.0.0.1:1",
	} {
		_, stderr, code := run("", strings.Fields(args)...)
		require.Equal(t, 1, code, args)
		require.Contains(t, stderr, want, args)
		require.Equal(t, 1, strings.Count(stderr, "\n"), "%s: %s", args, stderr)
	}
}

func testTop(t *testing.T) {
	rows := func(args ...string) [][]string {
		stdout, _, err := rtctl(t, append([]string{"top"}, args...)...)
		require.NoError(t, err)
		var rows [][]string
		for line := range strings.Lines(stdout) {
			rows = append(rows, strings.Fields(line))
		}
		return rows
	}
	chess, bare := []string{"chess", "-", "-", "-", "-", "-", "-"}, []string{"bare", "-", "-", "-", "-", "-", "-"}
	busy, idle := []string{"go", "-", "500m", "8Mi", "64Mi", "12%", "1"}, []string{"shogi", "-", "0m", "8Mi", "64Mi", "12%", "1"}
	head := []string{"NAME", "PHASE", "CPU", "MEMORY", "LIMIT", "MEMORY%", "PIDS"}
	names := []string{"shogi", "go", "chess", "bare"}
	require.Equal(t, [][]string{head, bare, chess, busy, idle}, rows(names...), "by name")
	require.Equal(t, [][]string{head, busy, idle, bare, chess}, rows(append(names, "--sort-by", "cpu")...))
	require.Equal(t, [][]string{head, busy}, rows("-l", "game=go"))
	require.Equal(t, append([]string{"default"}, busy...), rows("-A", "-l", "game=go")[1])
	require.Equal(t, append(slices.Clone(busy), "0B", "0B", "0B", "0B"), rows("go", "-o", "wide")[1])

	var list struct{ Items []v1alpha1.GameRuntimeStats }
	require.NoError(t, json.Unmarshal([]byte(in(t, append([]string{"top", "-o", "json"}, names...)...)), &list))
	require.Len(t, list.Items, 2, "of those that run")
	require.Equal(t, "default/go", list.Items[0].Game)
	require.Equal(t, "GameRuntimeStats", list.Items[0].Kind)
	require.Equal(t, "500m", list.Items[0].Usage.CPU.String())
	require.Contains(t, in(t, "top", "-n", "elsewhere", "-o", "json"), `"items": []`)

	_, stderr, err := rtctl(t, "top", "-n", "elsewhere")
	require.NoError(t, err)
	require.Equal(t, "There are no games here.\n", stderr)
	for args, want := range map[string]string{
		"none nobody":                    "none, nobody: there is no such game",
		"--sort-by age":                  `--sort-by: must be name, cpu or memory, is "age"`,
		"-o text":                        `--output: must be table, wide, json or yaml, is "text"`,
		"--kubeconfig " + unreachable(t): "no manager answers at",
	} {
		_, _, err := rtctl(t, append([]string{"top"}, strings.Fields(args)...)...)
		require.ErrorContains(t, err, want)
	}
}

// One game that hangs its engine costs its own row alone.
func testTopFailures(t *testing.T, sim *enginetest.Sim) {
	defer sim.Inject(enginetest.Fault{Verb: "Usage", On: "go", Kind: engine.Timeout})()
	stdout, stderr, err := rtctl(t, "top", "go", "shogi")
	require.ErrorAs(t, err, new(*failure))
	require.Contains(t, stdout, "8Mi")
	require.Contains(t, stderr, "default/go: ")
	require.Contains(t, stderr, "the engine did not answer in time")
	defer sim.Inject(enginetest.Fault{Verb: "Usage", Kind: engine.Unreachable})()
	_, _, err = rtctl(t, "top", "shogi")
	require.ErrorContains(t, err, "the engine does not answer")
}
