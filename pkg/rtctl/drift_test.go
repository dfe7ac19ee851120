package rtctl

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

// grown is a container with less memory than its record asks for, seen two hours ago.
func grown() *v1alpha1.GameRuntimeStatus {
	return &v1alpha1.GameRuntimeStatus{Drift: []v1alpha1.Drift{
		{
			Kind: v1alpha1.DriftSpecMismatch, Field: "resources.memory", Desired: "536870912", Actual: "268435456",
			FirstSeen: metav1.NewTime(time.Now().Add(-2 * time.Hour)), Action: "update the container in place",
		},
		{
			Kind: v1alpha1.DriftSpecMismatch, Field: "isolation", Actual: "privileged",
			FirstSeen: metav1.NewTime(time.Now().Add(-2 * time.Hour)), Action: "recreate the container",
		},
	}}
}

func orphaned(games ...string) *v1alpha1.DriftReportStatus {
	status := &v1alpha1.DriftReportStatus{}
	for _, game := range games {
		status.Items = append(status.Items, v1alpha1.DriftItem{Game: game, Container: "0123456789abcdef", Drift: v1alpha1.Drift{
			Kind: v1alpha1.DriftUnrecordedContainer, Actual: "stray, running, from galaxy/demo-game:1.0.0",
			FirstSeen: metav1.NewTime(time.Now().Add(-2 * time.Hour)), Action: "remove the container",
		}})
	}
	return status
}

const grownTold = `drifted/chess
  resources.memory: SpecMismatch for 120m, mended by: update the container in place
  - 256Mi
  + 512Mi
  isolation: SpecMismatch for 120m, mended by: recreate the container
  - privileged
`

func testDrift(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "drifted")
	in(t, "apply", "-n", "drifted", "-f", file(t, chess), "-f", file(t, strings.Replace(chess, "name: chess", "name: go", 1)))
	report(t, records(t, server, "gameruntimes").Namespace("drifted"), "chess", grown())

	stdout, _, err := rtctl(t, "drift", "-n", "drifted")
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Equal(t, grownTold+"1 of 2 games differ.\n", stdout)
	stdout, _, err = rtctl(t, "drift", "-A")
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Contains(t, stdout, grownTold)

	require.Equal(t, "drifted/go is in sync.\n", in(t, "drift", "go", "-n", "drifted"))
	stdout, _, err = rtctl(t, "drift", "chess", "-n", "drifted", "--color", "always")
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Contains(t, stdout, "\x1b[31m  - 256Mi\x1b[0m\n\x1b[32m  + 512Mi\x1b[0m\n")

	stdout, _, err = rtctl(t, "drift", "-n", "drifted", "-o", "json")
	require.Equal(t, &failure{code: exitDiffers}, err)
	var data v1alpha1.DriftReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &data))
	require.Equal(t, "DriftReport", data.Kind)
	require.Equal(t, []int32{1, 1, 0}, []int32{data.Status.InSync, data.Status.Drifted, data.Status.Orphans})
	require.Equal(t, "drifted/chess", data.Status.Items[0].Game)
	require.Equal(t, "268435456", data.Status.Items[0].Actual, "programs get what is stored")
}

func testNoDrift(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "synced")
	require.Equal(t, "There is no game in the namespace synced.\n", in(t, "drift", "-n", "synced"))
	in(t, "apply", "-n", "synced", "-f", file(t, chess))
	require.Equal(t, "synced/chess is in sync.\n", in(t, "drift", "-n", "synced"))
	in(t, "apply", "-n", "synced", "-f", file(t, strings.Replace(chess, "name: chess", "name: go", 1)))
	require.Equal(t, "All 2 games of the namespace synced are in sync.\n", in(t, "drift", "-n", "synced"))
}

func testOrphans(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "strayed")
	status := orphaned("strayed/stray", "elsewhere/stray")
	status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReachable, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonEngineUnreachable, LastTransitionTime: metav1.NewTime(began),
	}}
	engineReport(t, server, "host", status)
	stdout, stderr, err := rtctl(t, "drift", "-n", "strayed")
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Equal(t, `strayed/stray
  container 0123456789ab: UnrecordedContainer for 120m, mended by: remove the container
  - stray, running, from galaxy/demo-game:1.0.0
0 of 0 games differ. 1 container is without a record.
`, stdout)
	require.Contains(t, stderr, "engine host does not answer since "+began.Local().Format(time.DateTime))
	stdout, _, err = rtctl(t, "drift", "-n", "strayed", "stray")
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.NotEmpty(t, stdout)
}

// growing is what a verb that goes on has printed so far.
type growing struct {
	sync.Mutex
	bytes.Buffer
}

func (g *growing) Write(p []byte) (int, error) {
	g.Lock()
	defer g.Unlock()
	return g.Buffer.Write(p)
}

func (g *growing) String() string {
	g.Lock()
	defer g.Unlock()
	return g.Buffer.String()
}

func testDriftWatch(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "watching")
	in(t, "apply", "-n", "watching", "-f", file(t, chess))
	games := records(t, server, "gameruntimes").Namespace("watching")
	ctx, stop := context.WithCancel(t.Context())
	out, ended := &growing{}, make(chan error, 1)
	command := Command(genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: out}, "v1")
	command.SetArgs([]string{"drift", "-n", "watching", "-w"})
	go func() { ended <- command.ExecuteContext(ctx) }()
	shows := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.HasSuffix(out.String(), want) }, patience, time.Millisecond, "%q in %q", want, out)
	}
	shows("watching/chess is in sync.\n")
	report(t, games, "chess", grown())
	shows(strings.TrimPrefix(strings.ReplaceAll(grownTold, "drifted", "watching"), "watching/chess"))
	report(t, games, "chess", &v1alpha1.GameRuntimeStatus{Phase: v1alpha1.PhaseRunning})
	shows(" watching/chess is in sync\n")
	report(t, games, "chess", &v1alpha1.GameRuntimeStatus{Phase: v1alpha1.PhaseStopped}) // no news of its drift
	report(t, games, "chess", grown())
	shows("  - privileged\n")
	require.NoError(t, games.Delete(t.Context(), "chess", metav1.DeleteOptions{}))
	shows(" watching/chess has no record any more\n")
	engineReport(t, server, "host-2", orphaned("watching/stray"))
	shows("  - stray, running, from galaxy/demo-game:1.0.0\n")
	report(t, records(t, server, "driftreports"), "host-2", orphaned())
	shows(" watching/stray has no container without a record any more\n")
	require.Equal(t, 1, strings.Count(out.String(), "watching/chess is in sync\n"))
	stop()
	require.NoError(t, <-ended)
}

// Scripts go by them: 1 is a difference and nothing else.
func testDifferenceCodes(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "codes-of-difference")
	in(t, "apply", "-n", "codes-of-difference", "-f", file(t, chess))
	for _, c := range []struct {
		code int
		said string
		args []string
	}{
		{0, "in sync", []string{"drift"}},
		{0, "in sync", []string{"plan", "chess"}},
		{1, "RESTARTS", []string{"plan", "-f", file(t, biggerNewerChess)}},
		{2, "there is no such game", []string{"drift", "ches"}},
		{2, "rtctl: unknown flag", []string{"drift", "--colour"}},
		{2, "rtctl: --watch shows text alone", []string{"drift", "-w", "-o", "yaml"}},
		{2, "leave --all-namespaces out", []string{"drift", "-A", "chess"}},
		{2, "no manager answers", []string{"drift", "--kubeconfig", unreachable(t)}},
	} {
		p := program(t, self(t), append(c.args, "-n", "codes-of-difference")...)
		require.Equal(t, c.code, p.code(t), "%v: %s", c.args, p.out.String())
		require.Contains(t, p.out.String(), c.said, "%v", c.args)
	}
}
