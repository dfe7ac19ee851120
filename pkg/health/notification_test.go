package health

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// notified are the titles of what people are told of a status.
func notified(t *testing.T, status v1alpha1.GameRuntimeStatus) (titles []string) {
	t.Helper()
	for _, e := range Of(chess(status)) {
		n, ok := e.Notification()
		if !ok {
			continue
		}
		var told notification
		require.NoError(t, json.Unmarshal(n.Payload, &told))
		require.NoError(t, uuid.Validate(n.ID))
		require.NotEqual(t, e.ID(), n.ID)
		require.Equal(t, []string{n.ID, e.ID()}, []string{told.IntentID, told.EventID})
		titles = append(titles, told.Severity+": "+told.Title)
	}
	return titles
}

func failingProbe(name string) v1alpha1.GameRuntimeStatus {
	return probed(v1alpha1.ProbeStatus{Probe: name, Verdict: v1alpha1.VerdictFailing, Message: "HTTP 503", Since: at(30), FailedAt: at(30)})
}

func TestWhatPeopleAreToldOf(t *testing.T) {
	vanished := ended(v1alpha1.TerminationUnknown, 255, "gone")
	vanished.Disappeared = true
	byHand := runs()
	byHand.StartedBy, byHand.UnexpectedStarts = "", 1
	for name, c := range map[string]struct {
		status v1alpha1.GameRuntimeStatus
		want   []string
	}{
		"started":               {v1alpha1.GameRuntimeStatus{Container: runs()}, nil},
		"crashed":               {stopped(ended(v1alpha1.TerminationCrashed, 3, "exit code 3")), []string{"error: Game chess crashed"}},
		"out of memory":         {stopped(ended(v1alpha1.TerminationOOMKilled, 137, "")), []string{"error: Game chess ran out of memory"}},
		"vanished":              {stopped(vanished), []string{"error: Game chess lost its container"}},
		"done":                  {stopped(ended(v1alpha1.TerminationCompleted, 0, "")), nil},
		"stopped by us":         {stopped(ended(v1alpha1.TerminationStoppedByUs, 143, "")), nil},
		"stopped by hand":       {stopped(ended(v1alpha1.TerminationStoppedByHand, 137, "")), nil},
		"stopped for its probe": {stopped(ended(v1alpha1.TerminationProbeFailed, 143, "")), nil},
		"the host went down":    {stopped(ended(v1alpha1.TerminationHostRebooted, 255, "")), nil},
		"started by hand":       {v1alpha1.GameRuntimeStatus{Container: byHand}, []string{"warning: Game chess was started by somebody else"}},
		"liveness":              {failingProbe("liveness"), []string{"warning: Game chess fails its liveness probe"}},
		"startup":               {failingProbe("startup"), []string{"warning: Game chess fails its startup probe"}},
		"progress":              {failingProbe("progress"), []string{"warning: Game chess fails its progress probe"}},
		"readiness":             {failingProbe("readiness"), nil},
		"inspect":               {failingProbe("inspect"), []string{"warning: Game chess fails its image's health check"}},
		"recovered": {
			probed(v1alpha1.ProbeStatus{Probe: "liveness", Verdict: v1alpha1.VerdictSucceeding, Since: at(40), FailedAt: at(30)}),
			[]string{"warning: Game chess fails its liveness probe"},
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, notified(t, c.status)) })
	}
}

// testdata shows people what the service reads that tells them.
func TestNotificationsAreThoseOfTestdata(t *testing.T) {
	for kind, status := range examples() {
		for _, e := range Of(chess(status)) {
			n, ok := e.Notification()
			if !ok || e.Type() != kind {
				continue
			}
			var payload bytes.Buffer
			require.NoError(t, json.Indent(&payload, n.Payload, "", "  "))
			payload.WriteByte('\n')
			file := filepath.Join("testdata", "notifications", string(kind)+".json")
			if *update {
				require.NoError(t, os.WriteFile(file, payload.Bytes(), 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), payload.String())
		}
	}
}
