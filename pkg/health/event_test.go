package health

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

var update = flag.Bool("update", false, "write testdata anew")

const (
	first  = "6d2f6c0f3f3b4c7f9c1f0a4b7e2d9a6651d1b1f6f9f2e7a1f2c4d8e6b9a3c5d7"
	second = "a91be1f7c8d94b62a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5c7b9"
	ours   = "0198c2a5-6f00-7000-8000-000000000001"
)

// at is some seconds after noon.
func at(seconds float64) *metav1.MicroTime {
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	return &metav1.MicroTime{Time: noon.Add(time.Duration(seconds * float64(time.Second)))}
}

func chess(status v1alpha1.GameRuntimeStatus) *v1alpha1.GameRuntime {
	return &v1alpha1.GameRuntime{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "chess", UID: "7f6b2a90-1c3d-4e5f-8a9b-0c1d2e3f4a5b"},
		Status:     status,
	}
}

// runs is a container that we started at 10 s.
func runs() *v1alpha1.ContainerStatus {
	return &v1alpha1.ContainerStatus{
		ID: first, Name: "chess.default", Image: "galaxy/chess:1.0.0", ImageDigest: "sha256:1111", State: v1alpha1.ContainerRunning,
		StartedAt: at(10), StartedBy: ours,
	}
}

// ended is how that container ended at 70 s.
func ended(reason v1alpha1.TerminationReason, code int32, message string) *v1alpha1.Termination {
	end := &v1alpha1.Termination{
		Reason: reason, Message: message, ExitCode: code, ContainerID: first, ImageDigest: "sha256:1111", StartedAt: at(10), FinishedAt: at(70),
	}
	switch code {
	case 137:
		end.Signal = "SIGKILL"
	case 139:
		end.Signal = "SIGSEGV"
	}
	return end
}

// stopped is a status with that end.
func stopped(end *v1alpha1.Termination) v1alpha1.GameRuntimeStatus {
	c := runs()
	c.State = v1alpha1.ContainerStopped
	return v1alpha1.GameRuntimeStatus{Container: c, LastTermination: end, Restarts: 2}
}

func probed(probes ...v1alpha1.ProbeStatus) v1alpha1.GameRuntimeStatus {
	return v1alpha1.GameRuntimeStatus{Container: runs(), Health: probes}
}

// told are the types of events, in their order.
func told(events []Event) []v1alpha1.HealthEventType {
	var types []v1alpha1.HealthEventType
	for _, e := range events {
		types = append(types, e.Type())
	}
	return types
}

func TestWhatAStatusTells(t *testing.T) {
	vanished := ended(v1alpha1.TerminationUnknown, 255, "the container disappeared from the engine")
	vanished.Disappeared = true
	stoppedByUs := ended(v1alpha1.TerminationStoppedByUs, 143, "stopped")
	again := stopped(ended(v1alpha1.TerminationCrashed, 3, "exit code 3"))
	again.Container = runs()
	again.Container.ID, again.Container.StartedAt = second, at(75)
	byHand := runs()
	byHand.StartedBy, byHand.UnexpectedStarts = "", 1
	byHandThenByUs := runs()
	byHandThenByUs.UnexpectedStarts = 1
	foreign := runs()
	foreign.StartedBy = ""
	never := runs()
	never.State, never.StartedAt, never.StartedBy = v1alpha1.ContainerStopped, nil, ""

	const (
		started      = v1alpha1.HealthContainerStarted
		exited       = v1alpha1.HealthContainerExited
		oom          = v1alpha1.HealthContainerOOM
		disappeared  = v1alpha1.HealthContainerDisappeared
		unhealthy    = v1alpha1.HealthInspectUnhealthy
		probeFailed  = v1alpha1.HealthProbeFailed
		probeRecover = v1alpha1.HealthProbeRecovered
	)
	type kinds = []v1alpha1.HealthEventType
	for name, c := range map[string]struct {
		status v1alpha1.GameRuntimeStatus
		want   kinds
	}{
		"nothing yet":             {v1alpha1.GameRuntimeStatus{}, nil},
		"created, not started":    {v1alpha1.GameRuntimeStatus{Container: never}, nil},
		"started by us":           {v1alpha1.GameRuntimeStatus{Container: runs()}, kinds{started}},
		"adopted":                 {v1alpha1.GameRuntimeStatus{Container: foreign}, nil},
		"started by hand":         {v1alpha1.GameRuntimeStatus{Container: byHand}, kinds{unhealthy}},
		"by hand, then by us":     {v1alpha1.GameRuntimeStatus{Container: byHandThenByUs}, kinds{started}},
		"crashed":                 {stopped(ended(v1alpha1.TerminationCrashed, 3, "exit code 3")), kinds{started, exited}},
		"exit code 137 alone":     {stopped(ended(v1alpha1.TerminationCrashed, 137, "killed")), kinds{started, exited}},
		"killed by hand":          {stopped(ended(v1alpha1.TerminationStoppedByHand, 137, "killed")), kinds{started, exited}},
		"stopped by us":           {stopped(stoppedByUs), kinds{started, exited}},
		"the engine's flag":       {stopped(ended(v1alpha1.TerminationOOMKilled, 137, "out of memory")), kinds{started, oom}},
		"vanished":                {stopped(vanished), kinds{started, disappeared}},
		"a port that is taken":    {stopped(ended(v1alpha1.TerminationStartFailedPort, 128, "port")), kinds{started}},
		"a mount that is gone":    {stopped(ended(v1alpha1.TerminationStartFailedMount, 128, "mount")), kinds{started}},
		"no such program":         {stopped(ended(v1alpha1.TerminationStartFailedImage, 127, "program")), kinds{started}},
		"the runtime's own fault": {stopped(ended(v1alpha1.TerminationStartFailedRuntime, 128, "runtime")), kinds{started}},
		"crashed, made anew":      {again, kinds{exited, started}},
		"a probe not sure yet":    {probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictUnknown}), kinds{started}},
		"a probe that never failed": {
			probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictSucceeding, Since: at(12)}), kinds{started},
		},
		"a probe that fails": {
			probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictFailing, Since: at(30), FailedAt: at(30)}), kinds{started, probeFailed},
		},
		"a probe that failed in the run before": {
			probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictUnknown, Since: at(10), FailedAt: at(5)}), kinds{probeFailed, started},
		},
		"a probe that recovered": {
			probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictSucceeding, Since: at(40), FailedAt: at(30)}),
			kinds{started, probeFailed, probeRecover},
		},
		"two probes": {
			probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictFailing, Since: at(31), FailedAt: at(31)},
				v1alpha1.ProbeStatus{Probe: "readiness", Verdict: v1alpha1.VerdictFailing, Since: at(30), FailedAt: at(30)}),
			kinds{started, probeFailed, probeFailed},
		},
		"a HEALTHCHECK that fails": {
			probed(v1alpha1.ProbeStatus{Probe: "inspect", Verdict: v1alpha1.VerdictFailing, Since: at(30), FailedAt: at(30)}), kinds{started, unhealthy},
		},
		"a HEALTHCHECK that recovered": {
			probed(v1alpha1.ProbeStatus{Probe: "inspect", Verdict: v1alpha1.VerdictSucceeding, Since: at(40), FailedAt: at(30)}), kinds{started, unhealthy},
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := Of(chess(c.status))
			require.Equal(t, c.want, told(events))
			seen := map[string]bool{}
			for i, e := range events {
				require.NoError(t, uuid.Validate(e.ID()))
				require.False(t, seen[e.ID()], "no two have one id")
				seen[e.ID()] = true
				require.Equal(t, types.NamespacedName{Namespace: "default", Name: "chess"}, e.Game())
				require.Equal(t, chess(c.status).UID, e.UID())
				require.False(t, i > 0 && e.At().Before(events[i-1].At()), "oldest first")
			}
		})
	}
}

// An id is of the fact: it stays what it is whatever else changes, and another
// fact has another.
func TestIDsAreOfTheFacts(t *testing.T) {
	ids := func(status v1alpha1.GameRuntimeStatus) map[v1alpha1.HealthEventType]string {
		all := map[v1alpha1.HealthEventType]string{}
		for _, e := range Of(chess(status)) {
			all[e.Type()] = e.ID()
		}
		return all
	}
	crashed := stopped(ended(v1alpha1.TerminationCrashed, 3, "exit code 3"))
	before := ids(crashed)

	later := *crashed.DeepCopy()
	later.Restarts++
	later.LastTermination.RestartedAt, later.LastTermination.Settled, later.LastTermination.Message = at(75), true, "in other words"
	later.Phase = v1alpha1.PhaseRunning
	require.Equal(t, before, ids(later))

	elsewhere := chess(crashed)
	elsewhere.UID = "another"
	for _, e := range Of(elsewhere) {
		require.NotEqual(t, before[e.Type()], e.ID(), "a game that was declared anew")
	}
	another := *crashed.DeepCopy()
	another.Container.StartedAt, another.LastTermination.StartedAt, another.LastTermination.FinishedAt = at(80), at(80), at(90)
	for kind, id := range ids(another) {
		require.NotEqual(t, before[kind], id, "another run of the same container")
	}

	failing := probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictFailing, Since: at(30), FailedAt: at(30)})
	fine := *failing.DeepCopy()
	fine.Health[0].Verdict, fine.Health[0].Since = v1alpha1.VerdictSucceeding, at(40)
	require.Equal(t, ids(failing)[v1alpha1.HealthProbeFailed], ids(fine)[v1alpha1.HealthProbeFailed])
	nextRun := *fine.DeepCopy()
	nextRun.Health[0].Since = at(50)
	require.Equal(t, ids(fine)[v1alpha1.HealthProbeRecovered], ids(nextRun)[v1alpha1.HealthProbeRecovered], "a failure is recovered from once")
	again := *failing.DeepCopy()
	again.Health[0].FailedAt = at(60)
	require.NotEqual(t, ids(failing)[v1alpha1.HealthProbeFailed], ids(again)[v1alpha1.HealthProbeFailed])
}

func TestHowSureAnOOMIs(t *testing.T) {
	for code, want := range map[int32]string{137: "certain", 1: "likely"} {
		events := Of(chess(stopped(ended(v1alpha1.TerminationOOMKilled, code, ""))))
		var details endDetails
		require.NoError(t, json.Unmarshal(events[1].Details(), &details))
		require.Equal(t, want, details.Confidence, "exit code %d", code)
	}
}

// What a probe says later is no word on its failure.
func TestAFailureIsToldInItsOwnWords(t *testing.T) {
	for verdict, want := range map[string]string{v1alpha1.VerdictFailing: "HTTP 503", v1alpha1.VerdictSucceeding: "", v1alpha1.VerdictUnknown: ""} {
		events := Of(chess(probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: verdict, Message: "HTTP 503", Since: at(40), FailedAt: at(30)})))
		var details verdictDetails
		require.Equal(t, v1alpha1.HealthProbeFailed, events[1].Type())
		require.NoError(t, json.Unmarshal(events[1].Details(), &details))
		require.Equal(t, verdictDetails{
			Reason: v1alpha1.ReasonProbeFailed, Probe: "liveness", Verdict: v1alpha1.VerdictFailing, Message: want, SinceMs: at(30).UnixMilli(),
		}, details)
	}
}

func TestTheContainerOfAProbe(t *testing.T) {
	status := stopped(ended(v1alpha1.TerminationProbeFailed, 143, "liveness"))
	status.Container = runs()
	status.Container.ID, status.Container.StartedAt = second, at(75)
	for when, want := range map[float64]string{80: second, 60: first, 5: ""} {
		status.Health = []v1alpha1.ProbeStatus{{Probe: "liveness", Verdict: v1alpha1.VerdictUnknown, FailedAt: at(when)}}
		for _, e := range Of(chess(status)) {
			if e.Type() == v1alpha1.HealthProbeFailed {
				require.Equal(t, want, e.Container())
			}
		}
	}
}

// examples tell of one event of each type, among others.
func examples() map[v1alpha1.HealthEventType]v1alpha1.GameRuntimeStatus {
	vanished := ended(v1alpha1.TerminationUnknown, 255, "the container disappeared from the engine")
	vanished.Disappeared = true
	vanishing := stopped(vanished)
	vanishing.Container.State = v1alpha1.ContainerRemoved
	return map[v1alpha1.HealthEventType]v1alpha1.GameRuntimeStatus{
		v1alpha1.HealthContainerStarted:     {Container: runs()},
		v1alpha1.HealthContainerExited:      stopped(ended(v1alpha1.TerminationCrashed, 139, "died of SIGSEGV, exit code 139")),
		v1alpha1.HealthContainerOOM:         stopped(ended(v1alpha1.TerminationOOMKilled, 137, "out of memory: killed by the kernel at its limit of 512Mi")),
		v1alpha1.HealthContainerDisappeared: vanishing,
		v1alpha1.HealthInspectUnhealthy: probed(v1alpha1.ProbeStatus{
			Probe: "inspect", Verdict: v1alpha1.VerdictFailing, Message: "exit code 1: no answer", Since: at(30), FailedAt: at(30),
		}),
		v1alpha1.HealthProbeFailed: probed(v1alpha1.ProbeStatus{
			Probe: "liveness", Verdict: v1alpha1.VerdictFailing, Message: "HTTP 503", Since: at(30), FailedAt: at(30),
		}),
		v1alpha1.HealthProbeRecovered: probed(v1alpha1.ProbeStatus{
			Probe: "liveness", Verdict: v1alpha1.VerdictSucceeding, Since: at(42.5), FailedAt: at(30),
		}),
	}
}

// testdata shows people what other services read. The ids are stored and sent:
// they must never become others.
func TestPayloadsAreThoseOfTestdata(t *testing.T) {
	for kind, status := range examples() {
		t.Run(string(kind), func(t *testing.T) {
			var payload bytes.Buffer
			for _, e := range Of(chess(status)) {
				if e.Type() == kind {
					require.NoError(t, json.Indent(&payload, e.Payload(), "", "  "))
					payload.WriteByte('\n')
				}
			}
			file := filepath.Join("testdata", string(kind)+".json")
			if *update {
				require.NoError(t, os.WriteFile(file, payload.Bytes(), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), payload.String())
		})
	}
}
