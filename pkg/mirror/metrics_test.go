package mirror

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// The lag is that of the first event which an inspect follows, and no event has
// two.
func TestTheLagIsFromTheFirstEvent(t *testing.T) {
	m := unrun(newFake())
	lag := func() (count uint64, seconds float64) {
		var told dto.Metric
		require.NoError(t, m.metrics.eventLag.Write(&told))
		return told.Histogram.GetSampleCount(), told.Histogram.GetSampleSum()
	}
	begin := m.options.Clock.Now()
	before := m.ask()
	m.announceLocked(engine.Event{ContainerID: "c1", At: begin.Add(-2 * time.Hour)})
	m.announceLocked(engine.Event{ContainerID: "c1", At: begin.Add(-time.Hour)})
	shown := engine.Container{ID: "c1", Game: chess, Installation: "i"}
	m.show(shown, before)
	count, _ := lag()
	require.Zero(t, count, "that inspect was asked for before the events")
	m.show(shown, m.ask())
	m.show(shown, m.ask())
	count, seconds := lag()
	require.EqualValues(t, 1, count)
	require.InDelta(t, 2*time.Hour.Seconds(), seconds, 60)
}

func TestReachableIsToldAsItIs(t *testing.T) {
	m := unrun(newFake())
	m.reached(engine.Info{ID: "e"})
	require.InDelta(t, 1, testutil.ToFloat64(m.metrics.reachable), 0)
	m.unreachable(t.Context(), errAway)
	require.InDelta(t, 0, testutil.ToFloat64(m.metrics.reachable), 0)
}
