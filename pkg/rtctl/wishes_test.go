package rtctl

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

// run is a verb that goes on beside the test, which is the manager meanwhile.
type run struct {
	t        *testing.T
	out, err growing
	ended    chan error
	cancel   context.CancelFunc
	games    dynamic.ResourceInterface
}

func begin(t *testing.T, server *apiservertest.Server, namespace string, args ...string) *run {
	t.Helper()
	r := &run{t: t, ended: make(chan error, 1), games: records(t, server, "gameruntimes").Namespace(namespace)}
	command := Command(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &r.out, ErrOut: &r.err}, "v1")
	command.SetArgs(append(args, "-n", namespace))
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.ended <- command.ExecuteContext(ctx) }()
	return r
}

// asked waits until a record asks for what the verb wishes, by its generation.
func (r *run) asked(game string, generation int64) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		record, err := r.games.Get(r.t.Context(), game, metav1.GetOptions{})
		return err == nil && record.GetGeneration() == generation
	}, patience, time.Millisecond)
}

// shows waits for a line of progress, so that the next state is not seen in its place.
func (r *run) shows(line string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return strings.Contains(r.out.String(), line+"\n") }, patience, time.Millisecond, "%q in %q", line, &r.out)
}

func (r *run) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		require.FailNow(r.t, "it does not end", "%s%s", &r.out, &r.err)
		return nil
	}
}

// status is one that tells of a generation.
func status(generation int64, phase v1alpha1.Phase, container *v1alpha1.ContainerStatus, pending *v1alpha1.Pending) *v1alpha1.GameRuntimeStatus {
	if pending != nil {
		pending.Since = metav1.NewTime(began)
	}
	return &v1alpha1.GameRuntimeStatus{
		ObservedGeneration: generation, Phase: phase, Container: container, Pending: pending,
		Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionEngineReachable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonEngineReachable, LastTransitionTime: metav1.NewTime(began),
		}},
	}
}

func runs(operation string) *v1alpha1.ContainerStatus {
	return &v1alpha1.ContainerStatus{ID: "c1", State: v1alpha1.ContainerRunning, StartedBy: operation}
}

func testWishes(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "wished")
	r := begin(t, server, "wished", "start", "chess", "--image", "galaxy/demo-game:1.0.0")
	r.asked("chess", 1)
	r.shows("chess: waiting for the manager")
	report(t, r.games, "chess", status(1, v1alpha1.PhasePulling, nil, &v1alpha1.Pending{Reason: v1alpha1.ReasonPulling, Message: "pull image galaxy/demo-game:1.0.0"}))
	r.shows("chess: Pulling, pull image galaxy/demo-game:1.0.0")
	report(t, r.games, "chess", status(1, v1alpha1.PhaseRunning, runs("o-1"), nil))
	require.NoError(t, r.end())
	require.Regexp(t, `^chess: waiting for the manager\nchess: Pulling, pull image galaxy/demo-game:1.0.0\nchess: Running\nchess: started in \d.* \(operation o-1\)\n$`, r.out.String())
	require.Empty(t, r.err.String())

	require.Equal(t, "chess: Running\nchess: the record said so already (operation o-1)\n", in(t, "start", "gr/chess", "-n", "wished"), "named as kubectl does")

	r = begin(t, server, "wished", "restart", "chess", "--as", "somebody", "--as-group", "galaxy:writers")
	r.asked("chess", 2)
	report(t, r.games, "chess", status(2, v1alpha1.PhaseRunning, runs("o-2"), nil))
	require.NoError(t, r.end(), "a writer's rights are enough")
	require.Regexp(t, `chess: restarted in \d.* \(operation o-2\)\n$`, r.out.String())

	r = begin(t, server, "wished", "stop", "chess")
	r.asked("chess", 3)
	report(t, r.games, "chess", status(3, v1alpha1.PhaseStopping, nil, &v1alpha1.Pending{Reason: v1alpha1.ReasonStopping, Message: "rename container 0123456789ab to chess.default.01234567.previous"}))
	r.shows("chess: Stopping, rename container to chess.default.01234567.previous")
	report(t, r.games, "chess", status(3, v1alpha1.PhaseStopped, &v1alpha1.ContainerStatus{ID: "c1", State: v1alpha1.ContainerStopped}, nil))
	require.NoError(t, r.end())
	require.Regexp(t, `chess: stopped in \d[^(]*\n$`, r.out.String())

	record, err := r.games.Get(t.Context(), "chess", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "galaxy-rtctl", record.GetManagedFields()[0].Manager)
}

// A first try that fails ends the waiting, and tells what and when next.
func testWishesThatFail(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "unlucky")
	r := begin(t, server, "unlucky", "start", "chess", "go", "--image", "galaxy/demo-game:1.0.0")
	r.asked("chess", 1)
	r.asked("go", 1)
	next := metav1.NewMicroTime(began.Add(time.Minute))
	report(t, r.games, "chess", status(1, v1alpha1.PhaseFailed, nil, &v1alpha1.Pending{
		Reason: v1alpha1.ReasonImagePullFailed, Message: "no such\nimage", Failures: 1, NextTry: &next,
	}))
	report(t, r.games, "go", status(1, v1alpha1.PhaseRunning, runs("o-1"), nil))
	require.Equal(t, &failure{code: 1}, r.end())
	require.Contains(t, r.out.String(), "chess: Failed, no such image (ImagePullFailed; next try at "+next.Local().Format(time.TimeOnly)+")\n")
	require.Regexp(t, `go: started in .* \(operation o-1\)\n`, r.out.String(), "one bad game costs only itself")
	require.Regexp(t, `^chess: not started within \S+: image_pull_failed: no such image; the record stands, and it goes on being tried\n$`, r.err.String())
}

// Who presses Ctrl-C ends the waiting, not the wish.
func testWishesInterrupted(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "impatient")
	r := begin(t, server, "impatient", "start", "chess", "--image", "galaxy/demo-game:1.0.0")
	r.asked("chess", 1)
	report(t, r.games, "chess", status(1, v1alpha1.PhaseStarting, nil, &v1alpha1.Pending{Reason: v1alpha1.ReasonStarting, Message: "start container 0123456789ab"}))
	r.shows("chess: Starting, start container")
	r.cancel()
	require.Equal(t, &failure{code: interrupted}, r.end())
	require.Equal(t, "chess: nobody waits any longer: it still goes on: start container\n", r.err.String())
}

func testWishesRefused(t *testing.T, server *apiservertest.Server) {
	server.Namespace(t, "refusing")
	in(t, "apply", "-n", "refusing", "-f", file(t, chess))
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a game without an image":  {[]string{"start", "go"}, "go: not started: invalid_request: image: a game without a record needs one: --image names it"},
		"no such game":             {[]string{"stop", "go"}, "go: not stopped: not_found: the game has no record: rtctl get gr -A lists all games"},
		"no name":                  {[]string{"stop", "Go"}, "invalid_request: game: must be a DNS label: at most 63 lower-case letters, digits and hyphens"},
		"an image too far":         {[]string{"start", "chess", "--image", "galaxy/demo-game:2.0.0"}, "semver_patch_only: spec.image:"},
		"the time is over":         {[]string{"restart", "chess", "--timeout", "300ms"}, "timeout: the record says so, and it is not taken up yet"},
		"somebody who may look":    {[]string{"stop", "chess", "--as", "x", "--as-group", "galaxy:viewers"}, "chess: not stopped: forbidden: "},
		"nobody there":             {[]string{"stop", "chess", "--kubeconfig", unreachable(t)}, "no manager answers at https://127.0.0.1:1"},
		"no games":                 {[]string{"restart"}, "restart takes the names of games"},
		"a namespace that is none": {[]string{"start", "go", "--image", "galaxy/demo-game:1.0.0", "-n", "nowhere"}, `namespaces "nowhere" not found`},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if !strings.Contains(strings.Join(args, " "), "-n ") {
				args = append(args, "-n", "refusing")
			}
			_, stderr, err := rtctl(t, args...)
			require.Error(t, err)
			require.Contains(t, stderr+err.Error(), c.want)
		})
	}
	stdout := in(t, "stop", "chess", "--no-wait", "-n", "refusing")
	require.Equal(t, "chess: the record says so now, and nobody waits for what comes of it\n", stdout)
	require.Equal(t, "Stopped", in(t, "get", "gr", "chess", "-n", "refusing", "-o", "jsonpath={.spec.state}"))
}

// On a terminal it is one line that is drawn anew, cut to its width, and that
// leaves nothing behind but the outcome.
func TestProgressOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out, errOut: &out, turns: true, width: func() int { return 30 }, told: map[string]string{}, began: time.Now().Add(-time.Second)}
	p.tell("chess", "Pulling")
	require.Equal(t, clear+"⠋ 1s chess: Pulling", out.String())
	out.Reset()
	p.turn++
	p.draw()
	require.Equal(t, clear+"⠙ 1s chess: Pulling", out.String())
	out.Reset()
	p.tell("chess", "Failed, \x1b[2Jthis is a long story\nand more")
	require.Equal(t, clear+"⠙ 1s chess: Failed, ^[[2Jthi…", out.String())
	out.Reset()
	p.end("chess", "started in 1s", true)
	require.Equal(t, clear+"chess: started in 1s\n", out.String())
	out.Reset()
	p.draw()
	require.Empty(t, out.String(), "it does not come back")
}
