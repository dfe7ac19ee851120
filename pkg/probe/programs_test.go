package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// container is an engine whose programs end as a test says.
type container struct {
	*programs
	begun chan string // the container of each program
	end   chan result
	away  atomic.Bool // the engine
}

type result struct {
	code   int32
	output string
	err    error
}

func newContainer(t *testing.T) *container {
	c := &container{begun: make(chan string, 100), end: make(chan result, 1)}
	c.programs = newPrograms(func(ctx context.Context, id string, _ []string) (int32, string, error) {
		c.begun <- id
		select {
		case r := <-c.end:
			return r.code, r.output, r.err
		case <-ctx.Done():
			return 0, "", ctx.Err()
		}
	}, func() bool { return !c.away.Load() })
	t.Cleanup(c.abandon)
	return c
}

// check runs a program in a container for at most so long.
func (c *container) check(id string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return checks{c.programs}.check(ctx, Target{Container: id}, v1alpha1.Probe{Exec: &v1alpha1.ExecAction{Command: []string{"/game", "check"}}})
}

func TestAProgramThatEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  result
		want string
	}{
		{"well", result{output: "all is well"}, ""},
		{"badly", result{code: 3, output: "\nthe board is gone\nand more\n"}, "/game ended with exit code 3: the board is gone"},
		{"without a word", result{code: 1}, "/game ended with exit code 1"},
		{"with many", result{code: 1, output: strings.Repeat("x", 1000)}, "/game ended with exit code 1: " + strings.Repeat("x", maxMessage) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			game := newContainer(t)
			game.end <- c.end
			err := game.check("c1", patience)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
			require.NotErrorIs(t, err, ErrNotMade)
		})
	}
}

func TestAProgramThatCannotBeRunTellsNothing(t *testing.T) {
	game := newContainer(t)
	game.end <- result{err: errors.New("the engine does not answer")}
	require.ErrorIs(t, game.check("c1", patience), ErrNotMade)
}

func TestAnEngineThatHangsIsNoFailureOfAGame(t *testing.T) {
	game := newContainer(t)
	require.EqualError(t, game.check("c1", time.Millisecond), "no answer in time", "it is not known yet")
	awaitOne(t, game.begun)
	game.away.Store(true)
	require.ErrorIs(t, game.check("c1", time.Millisecond), ErrNotMade)
	require.ErrorIs(t, game.check("c2", time.Millisecond), ErrNotMade)
	require.Empty(t, game.begun, "nothing more is asked of it")

	game.away.Store(false)
	answer := make(chan error, 1)
	go func() { answer <- game.check("c2", patience) }()
	awaitOne(t, game.begun)
	game.away.Store(true)
	game.end <- result{code: 1}
	game.end <- result{code: 1}
	require.ErrorIs(t, awaitOne(t, answer), ErrNotMade)
}

func TestAProgramThatGoesOnIsNotBegunAgain(t *testing.T) {
	game := newContainer(t)
	require.EqualError(t, game.check("c1", time.Millisecond), "no answer in time")
	require.Equal(t, "c1", awaitOne(t, game.begun))
	require.EqualError(t, game.check("c1", time.Millisecond), "/game of an earlier check still runs")
	require.Empty(t, game.begun)

	require.EqualError(t, game.check("c2", time.Millisecond), "no answer in time", "another game's may be")
	require.Equal(t, "c2", awaitOne(t, game.begun))

	game.end <- result{}
	game.end <- result{} // taken only once the first was
	require.Eventually(t, func() bool { return !game.busy() }, patience, time.Millisecond)
	game.end <- result{}
	require.NoError(t, game.check("c1", patience))
}

func (c *container) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.overdue) > 0
}

func TestTwoProbesMayRunTheSameProgram(t *testing.T) {
	game := newContainer(t)
	answers := make(chan error, 2)
	for range 2 {
		go func() { answers <- game.check("c1", patience) }()
		awaitOne(t, game.begun)
	}
	for range 2 {
		game.end <- result{}
		require.NoError(t, awaitOne(t, answers))
	}
}

func TestProgramsAreNotWaitedForInTheEnd(t *testing.T) {
	game := newContainer(t)
	require.Error(t, game.check("c1", time.Millisecond))
	game.abandon() // or the test never ends
}

func TestACheckThatCannotBeMadeCountsForNothing(t *testing.T) {
	s := newStage(t, 2)
	s.answer("/live", fmt.Errorf("%w: the engine does not answer", ErrNotMade))
	s.watch("run-1", v1alpha1.Probes{Liveness: get("/live", failingAfter(1))})
	s.await("/live")
	s.awaitScheduled(map[string]float64{"/live": 10})
	require.Equal(t, map[string]string{"liveness": "Unknown"}, s.verdicts("run-1"))
	s.answer("/live", errors.New("status 500"))
	s.step("/live")
	s.awaitChange()
	require.Equal(t, map[string]string{"liveness": "Failing"}, s.verdicts("run-1"))
}

func TestProgramsThatHangHoldNoOtherChecksUp(t *testing.T) {
	target, port := serve(t, func(http.ResponseWriter, *http.Request) {})
	begun := make(chan struct{}, 100)
	changed := make(chan types.NamespacedName, 10)
	p := New(Options{
		Log: logr.Discard(), Workers: 1, OnChange: func(name types.NamespacedName) { changed <- name },
		Exec: func(ctx context.Context, _ string, _ []string) (int32, string, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return 0, "", ctx.Err()
		},
	})
	hangs := v1alpha1.Probe{Exec: &v1alpha1.ExecAction{Command: []string{"/game"}}, TimeoutSeconds: 600}
	for i := range 20 {
		name := types.NamespacedName{Name: fmt.Sprint(i)}
		p.Watch(Target{Game: name, Instance: "run-1", Container: name.Name, StartedAt: time.Now(), Probes: v1alpha1.Probes{Liveness: &hangs}}, nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for range execSlots {
		awaitOne(t, begun)
	}
	answers := httpGet("/", port)
	target.Probes = v1alpha1.Probes{Readiness: &answers}
	p.Watch(target, nil)
	require.Equal(t, chess, awaitOne(t, changed))
	require.Empty(t, begun)
	cancel()
	require.NoError(t, awaitOne(t, ended), "nobody waits for them in the end")
}
