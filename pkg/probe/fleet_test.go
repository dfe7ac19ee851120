package probe

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// fleet is many games that are checked one after another, at once when they are
// due, without a scheduler that runs.
type fleet struct {
	*Prober
	clock *testclock.FakeClock
	size  int
}

func newFleet(size int, recorded []v1alpha1.ProbeStatus) *fleet {
	f := &fleet{clock: testclock.NewFakeClock(begin), size: size}
	f.Prober = New(Options{Log: logr.Discard(), Clock: f.clock})
	for i := range size {
		f.Watch(Target{Game: gameNo(i), Address: "10.0.0.1", StartedAt: begin, Probes: v1alpha1.Probes{Readiness: get("/ready")}}, recorded)
	}
	return f
}

func gameNo(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: fmt.Sprint(i)}
}

// checks makes those of a while, and says how many there were in each second of
// it, and of each game.
func (f *fleet) checks(t *testing.T, while time.Duration) (seconds []int, games map[types.NamespacedName]int) {
	start := f.clock.Now()
	seconds, games = make([]int, while/time.Second), map[types.NamespacedName]int{}
	for {
		f.mu.Lock()
		due := later(f.brisk.queue[0].due, f.clock.Now())
		if due.Sub(start) >= while {
			f.mu.Unlock()
			f.clock.SetTime(start.Add(while))
			return seconds, games
		}
		f.clock.SetTime(due)
		check := f.boardLocked(t.Context(), &f.brisk, due)
		f.mu.Unlock()
		check.cancel()
		seconds[due.Sub(start)/time.Second]++
		games[check.target.Game]++
		f.land(check, answer{}, false)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// apart checks that a fleet is checked evenly, and each game of it once a period.
func (f *fleet) apart(t *testing.T) {
	t.Helper()
	seconds, games := f.checks(t, 100*time.Second)
	for second, n := range seconds {
		require.InDelta(t, f.size/10, n, float64(f.size)/20, "checks in second %d", second)
	}
	for game, n := range games {
		require.Equal(t, 10, n, "checks of game %s in ten periods", game)
	}
	require.Len(t, games, f.size)
}

func TestGamesDoNotBeatInStep(t *testing.T) {
	t.Run("after they started together", func(t *testing.T) {
		f := newFleet(1000, nil)
		f.checks(t, 20*time.Second)
		f.apart(t)
	})
	t.Run("after a manager restarted", func(t *testing.T) {
		since := metav1.NewMicroTime(begin)
		f := newFleet(1000, []v1alpha1.ProbeStatus{{Probe: v1alpha1.ProbeReadiness, Verdict: v1alpha1.VerdictSucceeding, Since: &since}})
		f.apart(t)
	})
	t.Run("after all of them were late", func(t *testing.T) {
		f := newFleet(1000, nil)
		f.checks(t, 20*time.Second)
		f.clock.Step(time.Hour)
		f.checks(t, 10*time.Second)
		f.apart(t)
	})
}

// TestGamesThatHangDelayNoOther has every tenth game hang, far more of them than
// there are slots for quick checks.
func TestGamesThatHangDelayNoOther(t *testing.T) {
	const size, rounds = 1000, 5
	clock := testclock.NewFakeClock(begin)
	var made sync.Map
	var answered, hanging atomic.Int32
	p := New(Options{Log: logr.Discard(), Clock: clock, Workers: 8, Check: func(ctx context.Context, target Target, _ v1alpha1.Probe) error {
		if strings.HasSuffix(target.Game.Name, "0") {
			hanging.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}
		n, _ := made.LoadOrStore(target.Game, new(atomic.Int32))
		n.(*atomic.Int32).Add(1)
		answered.Add(1)
		return nil
	}})
	p.moment = time.Millisecond
	p.spread = func(period time.Duration) time.Duration { return period }
	runs(t, p)
	for i := range size {
		p.Watch(Target{Game: gameNo(i), Address: "10.0.0.1", StartedAt: begin, Probes: v1alpha1.Probes{Readiness: get("/ready")}}, nil)
	}
	for round := range rounds {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			assert.EqualValues(c, (round+1)*size*9/10, answered.Load())
			p.mu.Lock()
			defer p.mu.Unlock()
			assert.Equal(c, size*9/10, len(p.brisk.queue)+len(p.slow.queue), "they are in the schedule again")
			assert.Equal(c, size/10, p.slow.busy, "those that hang take no slot of the others")
		}, patience, time.Millisecond)
		elapse(p, clock, 10*time.Second)
	}
	require.EqualValues(t, size/10, hanging.Load(), "they have hung all the while")
	made.Range(func(game, n any) bool {
		require.GreaterOrEqual(t, n.(*atomic.Int32).Load(), int32(rounds), game)
		return true
	})
}

// TestThoseThatHangWaitForEachOther has more games hang, again and again, than
// there are slots for the slow: a game that answers keeps its period.
func TestThoseThatHangWaitForEachOther(t *testing.T) {
	const hung = 40
	var answered atomic.Int32
	p := New(Options{Log: logr.Discard(), Workers: 1, Check: func(ctx context.Context, target Target, _ v1alpha1.Probe) error {
		if target.Game == chess {
			answered.Add(1)
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	p.moment = time.Millisecond
	slow := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.slow.busy
	}
	runs(t, p)
	probes := v1alpha1.Probes{Readiness: get("/", func(p *v1alpha1.Probe) { p.PeriodSeconds, p.TimeoutSeconds = 1, 1 })}
	for i := range hung {
		p.Watch(Target{Game: gameNo(i), Address: "10.0.0.1", StartedAt: begin, Probes: probes}, nil)
	}
	require.Eventually(t, func() bool { return slow() == hung }, patience, time.Millisecond, "the first time nobody waits")
	require.Eventually(t, func() bool { return slow() == slowShare }, patience, time.Millisecond)
	start := time.Now()
	p.Watch(Target{Game: chess, Address: "10.0.0.1", StartedAt: begin, Probes: probes}, nil)
	require.Eventually(t, func() bool {
		require.LessOrEqual(t, slow(), slowShare)
		return answered.Load() == 4
	}, patience, time.Millisecond)
	require.Less(t, time.Since(start), 6*time.Second, "four checks take three periods")
}
