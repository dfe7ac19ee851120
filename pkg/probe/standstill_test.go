package probe

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

func turns() *v1alpha1.ProgressProbe {
	return &v1alpha1.ProgressProbe{
		HTTPGet: v1alpha1.HTTPGetAction{Path: "/turn", Port: 8080}, JSONPath: "{.turn}",
		WithinSeconds: 30, PeriodSeconds: 10, TimeoutSeconds: 60,
	}
}

func (s *stage) turn(number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number = number
}

func TestANumberThatStandsStillFails(t *testing.T) {
	s := newStage(t, 2)
	s.answer("/start", errors.New("not yet"))
	s.turn("7")
	s.watch("run-1", v1alpha1.Probes{Startup: get("/start", failingAfter(10)), Progress: turns()})
	s.await("/start")
	s.awaitScheduled(map[string]float64{"/start": 10})
	s.answer("/start", nil)
	s.elapse(10 * time.Second) // the number's time counts from here
	s.await("/start", "/turn")
	s.awaitChange()
	s.awaitChange()
	require.Equal(t, v1alpha1.VerdictSucceeding, s.verdicts("run-1")["progress"], "a game that tells one lives")

	s.step("/turn")
	s.step("/turn")
	s.awaitScheduled(map[string]float64{"/turn": 10})
	require.Equal(t, v1alpha1.VerdictSucceeding, s.verdicts("run-1")["progress"])
	s.step("/turn")
	s.awaitChange()
	failing := s.Results(chess, "run-1")[1]
	require.Equal(t, v1alpha1.VerdictFailing, failing.Verdict)
	require.Equal(t, "the number stands at 7 since 2026-05-04T12:00:10Z", failing.Message)
	require.Equal(t, begin.Add(40*time.Second), failing.FailedAt.Time)

	s.turn("8")
	s.step("/turn")
	s.awaitChange()
	require.Equal(t, v1alpha1.VerdictSucceeding, s.verdicts("run-1")["progress"])

	s.answer("/turn", errors.New("no answer in time"))
	for range 3 {
		s.step("/turn")
	}
	s.awaitChange()
	require.Equal(t, "the number stands at 8 since 2026-05-04T12:00:50Z: no answer in time", s.Results(chess, "run-1")[1].Message)
}

func TestANumberThatIsNeverToldFails(t *testing.T) {
	s := newStage(t, 2)
	s.answer("/turn", errors.New("GET /turn answered 500"))
	s.watch("run-1", v1alpha1.Probes{Progress: turns()})
	s.await("/turn")
	for range 3 {
		require.Equal(t, v1alpha1.VerdictUnknown, s.verdicts("run-1")["progress"])
		s.step("/turn")
	}
	s.awaitChange()
	require.Equal(t, "no number was told since 2026-05-04T12:00:00Z: GET /turn answered 500", s.Results(chess, "run-1")[0].Message)
	s.answer("/turn", nil)
	s.turn("1")
	s.step("/turn")
	s.awaitChange()
	require.Equal(t, v1alpha1.VerdictSucceeding, s.verdicts("run-1")["progress"])
}

// TestStandstillAcrossManagers: a manager that restarts does not know the number
// that the one before it saw.
func TestStandstillAcrossManagers(t *testing.T) {
	since := metav1.NewMicroTime(begin.Add(-time.Hour))
	recorded := func(verdict string) []v1alpha1.ProbeStatus {
		return []v1alpha1.ProbeStatus{{Probe: v1alpha1.ProbeProgress, Verdict: verdict, Since: &since}}
	}
	t.Run("a dead game stays dead", func(t *testing.T) {
		s := newStage(t, 2)
		s.turn("7")
		s.Watch(s.target("run-1", v1alpha1.Probes{Progress: turns()}), recorded(v1alpha1.VerdictFailing))
		s.step("/turn")
		s.step("/turn")
		s.awaitScheduled(map[string]float64{"/turn": 10})
		require.Equal(t, v1alpha1.VerdictFailing, s.verdicts("run-1")["progress"], "7 may be what it stood at")
		require.Empty(t, s.changed)
		s.turn("8")
		s.step("/turn")
		s.awaitChange()
		require.Equal(t, v1alpha1.VerdictSucceeding, s.verdicts("run-1")["progress"])
	})
	t.Run("a live one gets its time", func(t *testing.T) {
		s := newStage(t, 2)
		s.turn("7")
		s.Watch(s.target("run-1", v1alpha1.Probes{Progress: turns()}), recorded(v1alpha1.VerdictSucceeding))
		for range 3 {
			s.step("/turn")
		}
		s.awaitScheduled(map[string]float64{"/turn": 10})
		require.Empty(t, s.changed)
		s.step("/turn")
		s.awaitChange()
		require.Equal(t, v1alpha1.VerdictFailing, s.verdicts("run-1")["progress"], "and not more than that")
	})
}
