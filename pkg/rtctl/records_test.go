package rtctl

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"

	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

const chess = `
apiVersion: runtime.galaxy.io/v1alpha1
kind: GameRuntime
metadata: {name: chess}
spec: {image: galaxy/demo-game:1.0.0}
`

// TestAgainstServer runs everything that can share one real API server. There is no
// manager behind it: status is what the test writes.
func TestAgainstServer(t *testing.T) {
	server := apiservertest.Start(t)
	for name, run := range map[string]func(*testing.T, *apiservertest.Server){
		"the story of a record":      testStory,
		"an editor":                  testEditor,
		"what cannot be":             testRefusals,
		"exit codes":                 testExitCodes,
		"discovery":                  testDiscovery,
		"completion":                 testCompletion,
		"completion by kubectl":      testPluginCompletion,
		"kubectl runs its plugin":    testPlugin,
		"a signal ends what watches": testSignal,
		"a stranger's certificate":   testStranger,
	} {
		t.Run(name, func(t *testing.T) {
			here(t)
			t.Setenv("KUBECONFIG", server.Kubeconfig())
			run(t, server)
		})
	}
}

// league is a namespace with one game, of which something happened.
func league(t *testing.T, server *apiservertest.Server, namespace string) {
	t.Helper()
	server.Namespace(t, namespace)
	in(t, "apply", "-n", namespace, "-f", file(t, chess))
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	uid := in(t, "get", "gr", "chess", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
	now := metav1.Now()
	_, err = client.CoreV1().Events(namespace).Create(t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "chess-"},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "runtime.galaxy.io/v1alpha1", Kind: "GameRuntime", Namespace: namespace, Name: "chess", UID: types.UID(uid),
		},
		Type: corev1.EventTypeNormal, Reason: "ContainerStarted", Message: "it started",
		Source: corev1.EventSource{Component: "manager"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func testStory(t *testing.T, server *apiservertest.Server) {
	league(t, server, "story")
	n := func(args ...string) []string { return append(args, "-n", "story") }
	require.Contains(t, in(t, n("apply", "-f", file(t, chess))...), "gameruntime.runtime.galaxy.io/chess unchanged")
	require.Regexp(t, `NAME +STATE +PHASE .*\nchess +Running `, in(t, n("get", "gr")...))
	require.Contains(t, in(t, n("get", "gr", "chess", "-o", "yaml")...), "\n  image: galaxy/demo-game:1.0.0\n")

	require.Empty(t, in(t, n("diff", "-f", file(t, chess))...), "in sync")
	stdout, stderr, err := rtctl(t, n("diff", "-f", file(t, strings.Replace(chess, "1.0.0", "1.0.1", 1)))...)
	require.Contains(t, stdout, "+  image: galaxy/demo-game:1.0.1", stderr)
	require.Equal(t, &failure{"", 1}, err, "a difference is told by the exit code alone")

	told := in(t, n("describe", "gr", "chess")...)
	require.Regexp(t, `Image: +galaxy/demo-game:1.0.0`, told)
	require.Regexp(t, `Events:(.|\n)*Normal +ContainerStarted .* manager +it started`, told)
	require.Contains(t, in(t, n("events", "--for", "gr/chess")...), "it started")

	in(t, n("label", "gr", "chess", "season=autumn")...)
	in(t, n("annotate", "gr", "chess", "note=ask first")...)
	in(t, n("patch", "gr", "chess", "--type=merge", "-p", `{"spec":{"state":"Stopped"}}`)...)
	require.Equal(t, "autumn Stopped", in(t, n("get", "gr", "-l", "season=autumn", "-o", "jsonpath={.items[0].metadata.labels.season} {.items[0].spec.state}")...))

	ready := `{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
	_, _, err = rtctl(t, n("wait", "--for=condition=Ready", "gr/chess", "--timeout=100ms")...)
	require.EqualError(t, err, "timed out waiting for the condition on gameruntimes/chess")
	in(t, n("patch", "gr", "chess", "--subresource=status", "--type=merge", "-p", ready)...)
	require.Contains(t, in(t, n("wait", "--for=condition=Ready", "gr/chess", "--timeout=10s")...), "condition met")

	require.Contains(t, in(t, n("delete", "gr", "chess")...), `"chess" deleted`)
	in(t, "create", "namespace", "another")
	_, stderr, err = rtctl(t, n("get", "gr")...)
	require.NoError(t, err)
	require.Equal(t, "No resources found in story namespace.\n", stderr)
}

func testEditor(t *testing.T, server *apiservertest.Server) {
	league(t, server, "edited")
	editor := filepath.Join(t.TempDir(), "editor")
	require.NoError(t, os.WriteFile(editor, []byte("#!/bin/sh\nexec sed -i s/demo-game:1.0.0/demo-game:1.0.1/ \"$1\"\n"), 0o700))
	t.Setenv("KUBE_EDITOR", editor)
	require.Contains(t, in(t, "edit", "gr", "chess", "-n", "edited"), "chess edited")
	require.Equal(t, "galaxy/demo-game:1.0.1", in(t, "get", "gr", "chess", "-n", "edited", "-o", "jsonpath={.spec.image}"))
}

func testRefusals(t *testing.T, server *apiservertest.Server) {
	league(t, server, "refused")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a name that is no DNS label": {[]string{"apply", "-f", file(t, strings.Replace(chess, "chess", "Fast_Chess", 1))},
			"is invalid: \n* metadata.name: Invalid value: \"Fast_Chess\": "},
		"a dotted name": {[]string{"apply", "-f", file(t, strings.Replace(chess, "chess", "fast.chess", 1))}, "DNS label"},
		"a field that is none": {[]string{"apply", "-f", file(t, strings.Replace(chess, "image:", "imago:", 1))},
			`The request is invalid: strict decoding error: unknown field "spec.imago"`},
		"no such game":      {[]string{"get", "gr", "ches"}, `"ches" not found: rtctl get gr -A lists all games`},
		"no such game, too": {[]string{"describe", "gr", "none"}, `"none" not found: rtctl get gr -A lists all games`},
		"no such kind":      {[]string{"get", "pods"}, `the server doesn't have a resource type "pods"`},
		"a wrong flag":      {[]string{"get", "--color"}, "unknown flag: --color: see rtctl get --help"},
		"nothing to get":    {[]string{"get"}, "You must specify the type of resource to get"},
		"no such context":   {[]string{"get", "gr", "--context", "moon"}, `kubeconfig ` + server.Kubeconfig() + `: context "moon" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, err := rtctl(t, append(c.args, "-n", "refused")...)
			require.Error(t, err)
			require.Contains(t, stderr+err.Error(), c.want)
			require.False(t, strings.HasPrefix(err.Error(), "error:"))
			require.NotContains(t, err.Error(), "kubectl")
		})
	}
}

// Scripts go by the exit codes, which are kubectl's.
func testExitCodes(t *testing.T, server *apiservertest.Server) {
	league(t, server, "codes")
	same, newer := file(t, chess), file(t, strings.Replace(chess, "1.0.0", "1.0.1", 1))
	for _, c := range []struct {
		code int
		said string
		args []string
	}{
		{0, "chess", []string{"get", "gr"}},
		{1, `rtctl: Error from server (NotFound): gameruntimes`, []string{"get", "gr", "ches"}},
		{0, "", []string{"diff", "-f", same}},
		{1, "1.0.1", []string{"diff", "-f", newer}},
		{2, "rtctl: unknown flag", []string{"diff", "--color"}},
		{2, "does not exist", []string{"diff", "-f", "/no/such/file"}},
		{0, "yes", []string{"auth", "can-i", "delete", "gr"}},
		{1, "no", []string{"auth", "can-i", "delete", "gr", "--as", "stranger"}},
		{1, "rtctl: unknown command", []string{"cluster-info"}},
	} {
		p := program(t, self(t), append(c.args, "-n", "codes")...)
		require.Equal(t, c.code, p.code(t), "%v: %s", c.args, p.out.String())
		require.Contains(t, p.out.String(), c.said, "%v", c.args)
		require.NotContains(t, p.out.String(), "goroutine")
	}
}

func testDiscovery(t *testing.T, _ *apiservertest.Server) {
	require.Regexp(t, `gameruntimes +gr +runtime.galaxy.io/v1alpha1 +true +GameRuntime`, in(t, "api-resources"))
	require.Contains(t, in(t, "api-versions"), "runtime.galaxy.io/v1alpha1")
	require.Contains(t, in(t, "explain", "gr.spec.probes"), "liveness")
	require.Contains(t, in(t, "auth", "whoami"), "galaxy:admins")
	require.Regexp(t, `^Client: v1\nServer: v1\.\d+\.\d+\+runtime-manager\.v0\.0\.0\n$`, in(t, "version"))
	require.Equal(t, "Client: v1\n", in(t, "version", "--client"))
}

// Every example and every text names a verb that there is, and the program by the
// name that it was called by.
func TestHelpOfRecordVerbs(t *testing.T) {
	for name, root := range map[string]*cobra.Command{
		"rtctl":          Command(genericiooptions.NewTestIOStreamsDiscard(), "v1"),
		"kubectl galaxy": PluginCommand(genericiooptions.NewTestIOStreamsDiscard(), "v1"),
	} {
		verb := regexp.MustCompile(`\b` + name + ` ([a-z][a-z-]*)`)
		var check func(*cobra.Command)
		check = func(cmd *cobra.Command) {
			text := cmd.Short + cmd.Long + cmd.Example
			all := text
			cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) { all += flag.Usage })
			if name == "rtctl" && (cmd.GroupID == groupRecords || cmd.Parent() != nil && cmd.Parent().GroupID == groupRecords) {
				require.NotContains(t, all, "kubectl ", cmd.CommandPath())
			}
			for _, match := range verb.FindAllStringSubmatch(text, -1) {
				found, _, err := root.Find(match[1:])
				require.NoError(t, err, "%s: %s", cmd.CommandPath(), match[0])
				require.NotEqual(t, root, found)
			}
			for _, sub := range cmd.Commands() {
				if sub.Name() != "completion" { // cobra's words
					check(sub)
				}
			}
		}
		check(root)
	}
}

// The help shows each verb under the title of its group.
func TestHelpIsInGroups(t *testing.T) {
	help, _, err := rtctl(t)
	require.NoError(t, err)
	require.Regexp(t, `(?s)Games:.*\n  history .*Records, as kubectl does:\n  get .*\n  auth .*Other:\n  completion .*\n  version .*\n  help .*Flags:`, help)
	for line := range strings.Lines(help) {
		require.Less(t, len(line), 120, "it fits a terminal: %s", line)
	}
	require.NotContains(t, help, "Additional Commands")
}
