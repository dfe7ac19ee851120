package journal

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// lines are a story in brief.
func lines(entries []v1alpha1.HistoryEntry) (lines []string) {
	for _, e := range entries {
		line := strings.Join([]string{e.At.UTC().Format(time.TimeOnly), string(e.Kind), e.What, e.Outcome, e.Code, e.By, e.Message, e.Container}, "|")
		lines = append(lines, line)
	}
	return lines
}

func TestHistoryIsTheStoryOfOneGame(t *testing.T) {
	pool := postgrestest.Schema(t)
	j := open(t, InPostgres(pool))
	start := intent(chess, v1alpha1.ActionStart, 1)
	start.Cause, start.Why, start.UID = "", "", "u-0" // of a record that is gone
	stop, open := intent(chess, v1alpha1.ActionStop, 3), intent(chess, v1alpha1.ActionRemove, 4)
	other := intent(types.NamespacedName{Namespace: "other", Name: "chess"}, v1alpha1.ActionStop, 3)
	for _, i := range []Intent{start, stop, open, other} {
		require.NoError(t, j.Begin(ctx, i))
	}
	start.Result = Result{Outcome: v1alpha1.OperationSucceeded, FinishedAt: start.At.Add(1234567 * time.Microsecond)}
	finish(j, start)
	finish(j, ended(stop, v1alpha1.OperationFailed))
	record := crashed(running(chess, 1), 2)
	record.Status.Health = []v1alpha1.ProbeStatus{{Probe: v1alpha1.ProbeLiveness, Verdict: v1alpha1.VerdictFailing, Message: "HTTP 500", FailedAt: moment(3)}}
	tell(j, record)
	elsewhere := running(types.NamespacedName{Namespace: "default", Name: "go"}, 1)
	elsewhere.UID = "u-2"
	tell(j, elsewhere)
	j.Close()

	all, err := History(ctx, pool, chess, HistoryOptions{Limit: 100})
	require.NoError(t, err)
	require.Equal(t, []string{
		"12:00:01|Operation|start|Succeeded||lobby||c-1",
		"12:00:01|HealthEvent|container_started||||galaxy/chess:1.0.0|c-1",
		"12:00:02|HealthEvent|container_exited||||Crashed: exit code 3|c-1",
		"12:00:03|Operation|stop|Failed|timeout|lobby|the record asks for Stopped: no answer|c-1",
		"12:00:03|HealthEvent|probe_failed||||liveness: HTTP 500|c-1",
		"12:00:04|Operation|remove|||lobby|the record asks for Stopped|c-1",
	}, lines(all))
	require.Equal(t, &metav1.Duration{Duration: 1234567 * time.Microsecond}, all[0].Duration)
	require.Equal(t, start.ID, all[0].Operation)
	require.Nil(t, all[0].Details)
	require.Equal(t, "o-1", all[1].Operation)
	require.JSONEq(t, `{"image": "galaxy/chess:1.0.0", "restarts": 0}`, string(all[1].Details.Raw))
	require.Nil(t, all[5].Duration, "it is still under way")

	since, err := History(ctx, pool, chess, HistoryOptions{Since: second(3), Limit: 2})
	require.NoError(t, err)
	require.Equal(t, all[4:], since, "the newest, in their order")
	none, err := History(ctx, pool, types.NamespacedName{Namespace: "default", Name: "unheard-of"}, HistoryOptions{Limit: 1})
	require.NoError(t, err)
	require.Empty(t, none)
}
