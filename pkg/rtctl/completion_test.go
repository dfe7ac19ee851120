package rtctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

// complete is what pressing Tab offers, with what rtctl says beside each.
func complete(t *testing.T, words ...string) []string {
	t.Helper()
	stdout, _, err := rtctl(t, append([]string{"__complete"}, words...)...)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	return lines[:len(lines)-1] // the last tells the shell what to do
}

func testCompletion(t *testing.T, server *apiservertest.Server) {
	league(t, server, "tab")
	in(t, "apply", "-n", "tab", "-f", file(t, strings.ReplaceAll(chess, "chess", "checkers")))
	in(t, "patch", "gr", "chess", "-n", "tab", "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Running"}}`)

	require.Contains(t, complete(t, "he"), "help\tHelp about any command")
	require.Equal(t, []string{"describe\tShow details of a specific resource or group of resources"}, complete(t, "des"))
	require.Equal(t, []string{"gameruntimes.runtime.galaxy.io"}, complete(t, "get", "game"))
	require.ElementsMatch(t, []string{"chess", "checkers"}, complete(t, "get", "gr", "-n", "tab", "c"))
	for _, verb := range []string{"get", "describe", "delete", "edit", "label", "annotate", "patch", "wait"} {
		require.Equal(t, []string{"gr/chess"}, complete(t, verb, "-n", "tab", "gr/ches"), verb)
	}
	require.Equal(t, []string{"checkers", "chess\tRunning"}, complete(t, "history", "-n", "tab", ""))
	require.Equal(t, []string{"chess\tRunning"}, complete(t, "history", "-n", "tab", "ches"))
	require.Empty(t, complete(t, "history", "-n", "tab", "chess", ""), "history takes one game")
	many := &cobra.Command{Use: "start GAME..."}
	many.SetContext(t.Context())
	connection := newConnection(managerKubeconfigs)
	*connection.flags.Namespace = "tab"
	names, _ := gameNames(connection)(many, []string{"chess"}, "")
	require.Equal(t, []string{"checkers\t"}, names, "each game once, where there may be many")
	require.Contains(t, complete(t, "history", "-n", ""), "tab")
	require.Equal(t, []string{"runtime-manager"}, complete(t, "get", "gr", "--context", "run"))
	require.Empty(t, complete(t, "get", "gr", "--context", "x"))
}

// Where there is no manager, Tab offers nothing, and says nothing.
func TestCompletionWithoutManager(t *testing.T) {
	here(t)
	require.Equal(t, []string{"table", "wide", "json", "yaml"}, complete(t, "top", "-o", ""))
	require.Equal(t, []string{"text", "json", "yaml"}, complete(t, "status", "-o", ""))
	require.Equal(t, []string{"cpu", "memory", "name"}, complete(t, "top", "--sort-by", ""))
	require.Equal(t, []string{"always", "never", "auto"}, complete(t, "drift", "--color", ""))
	for _, words := range [][]string{{"history", ""}, {"get", ""}, {"get", "gr", ""}, {"-n", ""}, {"--context", ""}} {
		require.Empty(t, complete(t, words...), "%v", words)
	}
}

// TestCompletionScripts has each shell's script ask rtctl.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, _, err := rtctl(t, "completion", shell)
		require.NoError(t, err)
		require.Contains(t, script, "__complete")
		require.Contains(t, script, "rtctl")
	}
}

// plugged has rtctl in the PATH under the names that kubectl looks for.
func plugged(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"kubectl-galaxy", "kubectl_complete-galaxy"} {
		require.NoError(t, os.Symlink(self(t), filepath.Join(dir, name)))
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func testPlugin(t *testing.T, server *apiservertest.Server) {
	league(t, server, "plugged")
	plugged(t)
	p := program(t, kubectl(t), "galaxy", "get", "gr", "-n", "plugged")
	require.Zero(t, p.code(t), p.out.String())
	require.Contains(t, p.out.String(), "chess")

	p = program(t, kubectl(t), "galaxy", "history", "none", "-n", "plugged")
	require.Equal(t, 1, p.code(t))
	require.Contains(t, p.out.String(), "kubectl galaxy: ")
	require.Contains(t, p.out.String(), "kubectl galaxy get gr -A lists all games")
	require.NotContains(t, p.out.String(), "rtctl: ")

	p = program(t, kubectl(t), "galaxy", "history", "--help")
	require.Zero(t, p.code(t))
	require.Contains(t, p.out.String(), "kubectl galaxy history GAME")
}

func testPluginCompletion(t *testing.T, server *apiservertest.Server) {
	league(t, server, "plugtab")
	plugged(t)
	p := program(t, kubectl(t), "__complete", "galaxy", "history", "-n", "plugtab", "c")
	require.Zero(t, p.code(t), p.out.String())
	require.Contains(t, p.out.String(), "chess\n")
}

// A plugin means the cluster that kubectl means; rtctl never does.
func TestPluginKubeconfig(t *testing.T) {
	m := startManager(t)
	home := here(t)
	plugged(t)
	history := func() string {
		p := program(t, kubectl(t), "galaxy", "history", "chess")
		p.code(t)
		return p.out.String()
	}
	require.Contains(t, history(), "there is no "+filepath.Join(home, ".kube", "config")+" and no "+filepath.Join(home, ".runtime-manager"))
	kubeconfig(t, filepath.Join(home, ".kube", "config"), m.URL, m.authority())
	require.Contains(t, history(), "container_exited")
	_, _, err := rtctl(t, "history", "chess")
	require.ErrorContains(t, err, "no manager is known here")
	_, _, err = rtctl(t, "get", "gr")
	require.ErrorContains(t, err, "no manager is known here")

	kubeconfig(t, filepath.Join(home, ".runtime-manager", "kubeconfig"), m.URL, m.authority())
	kubeconfig(t, filepath.Join(home, ".kube", "config"), "https://127.0.0.1:1", m.authority())
	require.Contains(t, history(), "no manager answers at https://127.0.0.1:1", "kubectl's comes first")
}
