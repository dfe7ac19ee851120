package rtctl

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

const biggerNewerChess = `
apiVersion: runtime.galaxy.io/v1alpha1
kind: GameRuntime
metadata: {name: chess}
spec: {image: galaxy/demo-game:1.0.1, resources: {memory: 1Gi}}
`

func testPlanFiles(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "planned")
	in(t, "apply", "-n", "planned", "-f", file(t, chess))
	stdout, _, err := rtctl(t, "plan", "-n", "planned", "-f", file(t, chess))
	require.NoError(t, err)
	require.Equal(t, "planned/chess: in sync, nothing to do\n", stdout)

	stdout, stderr, err := rtctl(t, "plan", "-n", "planned", "-f", file(t, biggerNewerChess))
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Empty(t, stderr)
	require.Equal(t, `planned/chess: RESTARTS the game
  ~ image              galaxy/demo-game:1.0.0 → galaxy/demo-game:1.0.1   recreate the container
  ~ resources.memory   512Mi → 1Gi                                       update the container in place
  1. stop container 0123456789ab: its specification changed
  2. create container chess
  3. start container
  4. update resources of container 0123456789ab
`, stdout)

	// What the file no longer says, apply would take back.
	in(t, "apply", "-n", "planned", "-f", file(t, strings.Replace(biggerNewerChess, "1.0.1", "1.0.0", 1)))
	before := in(t, "get", "gr", "-n", "planned", "-o", "yaml")
	stdout, _, err = rtctl(t, "plan", "-n", "planned", "-f", file(t, chess))
	require.NoError(t, err)
	require.Equal(t, "planned/chess: in sync, nothing to do\n", stdout)

	dir := t.TempDir()
	for name, content := range map[string]string{
		"chess.yaml": biggerNewerChess, "go.yaml": strings.Replace(chess, "name: chess", "name: go", 1),
		"namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: planned}\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	stdout, stderr, err = rtctl(t, "plan", "-n", "planned", "-f", dir)
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Contains(t, stdout, "planned/chess: RESTARTS the game\n")
	require.Contains(t, stdout, "planned/go: in sync, nothing to do\n", "a game that has no record yet")
	require.Contains(t, stderr, "Namespace planned is no game, and left out")

	stdout, _, err = rtctl(t, "plan", "-n", "planned", "-f", file(t, biggerNewerChess), "--server-side")
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Contains(t, stdout, "RESTARTS")

	stdout, stderr, err = rtctl(t, "plan", "-n", "planned", "-f", file(t, biggerNewerChess), "--as", "somebody", "--as-group", "galaxy:viewers")
	require.Equal(t, &failure{code: exitDiffers}, err, stderr)
	require.Contains(t, stdout, "RESTARTS")
	require.Contains(t, stderr, "planned/chess: you may not apply it, and what it leaves out is taken for the default\n")

	require.Equal(t, before, in(t, "get", "gr", "-n", "planned", "-o", "yaml"), "nothing was done")
}

// A record as it is read may be edited on its way back; and kubectl can ask, too.
func testPlanPiped(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "piped")
	in(t, "apply", "-n", "piped", "-f", file(t, chess))
	newer := strings.ReplaceAll(in(t, "get", "gr", "chess", "-n", "piped", "-o", "yaml"), "1.0.0", "1.0.1")
	p := program(t, self(t), "plan", "-n", "piped", "-f", "-")
	p.Stdin = strings.NewReader(newer)
	require.Equal(t, exitDiffers, p.code(t), p.out.String())
	require.Contains(t, p.out.String(), "piped/chess: RESTARTS the game\n")

	raw := program(t, kubectl(t), "create", "--raw", "/apis/runtime.galaxy.io/v1alpha1/namespaces/piped/gameruntimes/chess/plan", "-f", file(t, newer))
	require.Zero(t, raw.code(t), raw.out.String())
	require.Contains(t, raw.out.String(), `"stopsGame":true`)
}

func testPlanRecords(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "stored")
	in(t, "apply", "-n", "stored", "-f", file(t, biggerNewerChess), "-f", file(t, strings.Replace(chess, "name: chess", "name: go", 1)))
	stdout, _, err := rtctl(t, "plan", "-n", "stored", "chess", "go")
	require.Equal(t, &failure{code: exitDiffers}, err)
	require.Regexp(t, `^stored/chess: RESTARTS the game\n(.*\n)+stored/go: in sync, nothing to do\n$`, stdout)

	stdout, _, err = rtctl(t, "plan", "-n", "stored", "chess", "-o", "json")
	require.Equal(t, &failure{code: exitDiffers}, err)
	var plan v1alpha1.GameRuntimePlan
	require.NoError(t, json.Unmarshal([]byte(stdout), &plan))
	require.Equal(t, "GameRuntimePlan", plan.Kind)
	require.True(t, plan.StopsGame)
	stdout, _, err = rtctl(t, "plan", "-n", "stored", "chess", "go", "-o", "yaml")
	require.Equal(t, &failure{code: exitDiffers}, err)
	var list struct {
		metav1.TypeMeta
		Items []v1alpha1.GameRuntimePlan
	}
	require.NoError(t, yaml.Unmarshal([]byte(stdout), &list))
	require.Equal(t, "List", list.Kind)
	require.Equal(t, []string{"stored/chess", "stored/go"}, []string{list.Items[0].Game, list.Items[1].Game})
}

func testPlanRefusals(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "unplanned")
	in(t, "apply", "-n", "unplanned", "-f", file(t, chess))
	far := file(t, strings.Replace(chess, "1.0.0", "2.0.0", 1))
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"neither":            {nil, "plan takes the records in files by -f or -k, or else the names of games"},
		"both":               {[]string{"chess", "-f", far}, "or else the names of games"},
		"an image too far":   {[]string{"-f", far}, "is further than update.policy Patch goes"},
		"on the server":      {[]string{"-f", far, "--server-side"}, "is further than update.policy Patch goes"},
		"an unknown field":   {[]string{"-f", file(t, strings.Replace(chess, "image:", "imago:", 1))}, `spec.image`},
		"no such file":       {[]string{"-f", "/no/such/file"}, "does not exist"},
		"no game in it":      {[]string{"-f", file(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n")}, "there is no game in the files"},
		"no such game":       {[]string{"ches"}, "unplanned/ches: there is no such game: rtctl get gr -A lists all games"},
		"a namespace to be":  {[]string{"-f", file(t, chess), "-n", "to-be"}, `namespaces "to-be" not found`},
		"a bad format":       {[]string{"chess", "-o", "xml"}, `--output: must be text, json or yaml, is "xml"`},
		"colours":            {[]string{"chess", "--color", "red"}, `--color: must be auto, always or never, is "red"`},
		"a flag that is not": {[]string{"--now"}, "unknown flag: --now: see rtctl plan --help"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := rtctl(t, append([]string{"plan", "-n", "unplanned"}, c.args...)...)
			var failed *failure
			require.ErrorAs(t, err, &failed)
			require.Equal(t, exitTrouble, failed.code)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, stdout)
		})
	}
}

// What people read of a plan: whether the game is interrupted is its first line.
func TestTellPlan(t *testing.T) {
	until := metav1.NewMicroTime(began.Add(time.Minute))
	step := func(action string) v1alpha1.PlannedAction {
		return v1alpha1.PlannedAction{Action: action, Message: action + " it", StopsGame: action == v1alpha1.ActionStop, Destructive: action == v1alpha1.ActionRemoveState}
	}
	wait := func(reason string) v1alpha1.PlannedAction {
		return v1alpha1.PlannedAction{Action: v1alpha1.ActionWait, Reason: reason, Message: "because"}
	}
	backOff := wait("BackOff")
	backOff.Until = &until
	for _, c := range []struct {
		steps []v1alpha1.PlannedAction
		stops bool
		want  string
	}{
		{nil, false, "in sync, nothing to do"},
		{[]v1alpha1.PlannedAction{step("update")}, false, "changes the container in place, without a restart"},
		{[]v1alpha1.PlannedAction{step("pull"), step("create"), step("start")}, false, "creates and starts the game"},
		{[]v1alpha1.PlannedAction{step("start")}, false, "starts the game"},
		{[]v1alpha1.PlannedAction{step("stop"), step("rename"), step("create"), step("start"), step("remove")}, true, "RESTARTS the game"},
		{[]v1alpha1.PlannedAction{step("stop")}, true, "STOPS the game"},
		{[]v1alpha1.PlannedAction{step("stop"), step("remove"), step("remove-state")}, true, "STOPS the game, AND ITS STATE IS REMOVED"},
		{[]v1alpha1.PlannedAction{step("remove")}, false, "removes a container that does not run"},
		{[]v1alpha1.PlannedAction{wait("EngineUnreachable")}, false, "waits: EngineUnreachable"},
		{[]v1alpha1.PlannedAction{wait("Paused"), step("stop"), step("create"), step("start")}, false, "held back (Paused), else it RESTARTS the game"},
		{[]v1alpha1.PlannedAction{backOff, step("start")}, false, "starts the game, but waits first: BackOff"},
	} {
		plan := &v1alpha1.GameRuntimePlan{Game: "league/chess", InSync: len(c.steps) == 0, StopsGame: c.stops, Actions: c.steps}
		require.Equal(t, c.want, verdict(plan))
	}
	var out strings.Builder
	tellPlan(&out, true, &v1alpha1.GameRuntimePlan{
		Game: "league/chess", Actions: []v1alpha1.PlannedAction{backOff, step("start")},
		Drift: []v1alpha1.Drift{{Field: "env", Desired: "LEVEL=(a1b2c3)"}, {Field: "isolation", Actual: "privileged"}, {Field: "state directory"}},
	}, time.UTC)
	require.Equal(t, "\x1b[1mleague/chess\x1b[0m: \x1b[33mstarts the game, but waits first: BackOff\x1b[0m\n"+
		"  + env               LEVEL=(a1b2c3)   \n"+
		"  - isolation         privileged       \n"+
		"  ~ state directory                    \n"+
		"  1. wait until 16:01:00 (BackOff): because\n"+
		"  2. start it\n", out.String())
}
