package lobby

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// flapping is a Lobby that is up or down as a test says.
type flapping struct {
	*stub
	up   atomic.Bool
	hold atomic.Pointer[chan struct{}] // what requests wait for, if anything
}

func newFlapping(t *testing.T) *flapping {
	f := &flapping{}
	f.stub = newStub(t, func(w http.ResponseWriter, r *http.Request) {
		up := f.up.Load()
		if hold := f.hold.Load(); hold != nil {
			<-*hold
		}
		if up {
			says(200, chess)(w, r)
		} else {
			says(503, "")(w, r)
		}
	})
	return f
}

// holds makes requests wait until they are let go.
func (f *flapping) holds(t *testing.T) (letGo func()) {
	hold := make(chan struct{})
	f.hold.Store(&hold)
	done := false
	letGo = func() {
		if !done {
			done = true
			f.hold.Store(nil)
			close(hold)
		}
	}
	t.Cleanup(letGo)
	return letGo
}

// once makes each question one attempt, so that a test can count.
func once(o *Options) { o.Attempts, o.FailureLimit = 1, 3 }

func kindOf(c *Client) Kind {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.Game(ctx, "chess")
	return KindOf(err)
}

func opens(t *testing.T, c *Client) {
	t.Helper()
	for range 3 {
		require.Equal(t, Unavailable, kindOf(c))
	}
	require.Equal(t, open, c.circuit.state())
}

func TestDeadLobbyCostsNothing(t *testing.T) {
	clock, lobby, log := newPacer(), newFlapping(t), &lines{}
	c := newClient(t, lobby.URL, clock.paces, once, func(o *Options) { o.Log = log.logger() })
	opens(t, c)
	for range 100 {
		require.Equal(t, CircuitOpen, kindOf(c))
	}
	assert.EqualValues(t, 3, lobby.asked.Load())

	clock.Step(15*time.Second - 1)
	require.Equal(t, CircuitOpen, kindOf(c))
	clock.Step(1)
	assert.Equal(t, halfOpen, c.circuit.state())
	require.Equal(t, Unavailable, kindOf(c), "the one attempt")
	require.Equal(t, CircuitOpen, kindOf(c))
	assert.EqualValues(t, 4, lobby.asked.Load())

	lobby.up.Store(true)
	clock.Step(15 * time.Second)
	require.Empty(t, kindOf(c), "the one attempt")
	require.Empty(t, kindOf(c))
	assert.Equal(t, closed, c.circuit.state())
	assert.Len(t, log.all, 2, "a line when it opens, and one when it closes: %q", log.all)
	assert.Len(t, log.with("asking the Lobby no more for a while"), 1)
	assert.Len(t, log.with("asking the Lobby again"), 1)
}

func TestOneAttemptAtOnce(t *testing.T) {
	clock, lobby := newPacer(), newFlapping(t)
	c := newClient(t, lobby.URL, clock.paces, once)
	opens(t, c)
	clock.Step(15 * time.Second)
	lobby.up.Store(true)
	letGo := lobby.holds(t)
	trial := asks(t.Context(), c)
	lobby.isAsked(t, 4)
	assert.Equal(t, CircuitOpen, kindOf(c), "somebody else finds out")
	assert.Equal(t, halfOpen, c.circuit.state())
	letGo()
	require.NoError(t, receive(t, trial).err)
	assert.Equal(t, closed, c.circuit.state())
}

// The caller of the one attempt may go, and the next one makes it.
func TestTrialThatIsGivenUp(t *testing.T) {
	clock, lobby := newPacer(), newFlapping(t)
	c := newClient(t, lobby.URL, clock.paces, once)
	opens(t, c)
	clock.Step(15 * time.Second)
	lobby.up.Store(true)
	letGo := lobby.holds(t)
	ctx, cancel := context.WithCancel(t.Context())
	trial := asks(ctx, c)
	lobby.isAsked(t, 4)
	cancel()
	require.Equal(t, Canceled, KindOf(receive(t, trial).err))
	letGo()
	assert.Equal(t, halfOpen, c.circuit.state())
	assert.Empty(t, kindOf(c))
}

// What was asked before the circuit opened neither makes it wait longer nor takes
// the place of the one attempt.
func TestLateFailure(t *testing.T) {
	clock, lobby := newPacer(), newFlapping(t)
	c := newClient(t, lobby.URL, clock.paces, once, func(o *Options) { o.AttemptTimeout, o.Timeout = time.Hour, time.Hour })
	letGo := lobby.holds(t)
	late := asks(t.Context(), c)
	lobby.isAsked(t, 1)
	lobby.hold.Store(nil)
	opens(t, c)
	clock.Step(10 * time.Second)
	letGo()
	require.Equal(t, Unavailable, KindOf(receive(t, late).err))
	clock.Step(5 * time.Second)
	assert.Equal(t, halfOpen, c.circuit.state())
}

func TestAnyAnswerIsALife(t *testing.T) {
	for name, act := range map[string]http.HandlerFunc{
		"200": says(200, chess), "404": says(404, ""), "401": says(401, ""), "429": says(429, ""), "HTML": says(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			down := says(500, "")
			c := newClient(t, newStub(t, down, down, act, down, down, act).URL, once)
			for range 6 {
				kindOf(c)
			}
			assert.Equal(t, closed, c.circuit.state())
		})
	}
}

func TestWhatOpensTheCircuit(t *testing.T) {
	t.Run("a connection that fails", func(t *testing.T) {
		lobby := newStub(t, reset)
		c := newClient(t, lobby.URL, once)
		opens(t, c)
	})
	t.Run("silence", func(t *testing.T) {
		clock, lobby := newPacer(), newStub(t, silent)
		c := newClient(t, lobby.URL, clock.paces, once)
		for n := int32(1); n <= 3; n++ {
			got := asks(t.Context(), c)
			lobby.isAsked(t, n)
			clock.Step(3 * time.Second)
			require.Equal(t, Timeout, KindOf(receive(t, got).err))
		}
		assert.Equal(t, CircuitOpen, kindOf(c))
	})
	t.Run("not callers that go", func(t *testing.T) {
		lobby := newStub(t, silent)
		c := newClient(t, lobby.URL, once)
		for n := int32(1); n <= 4; n++ {
			ctx, cancel := context.WithCancel(t.Context())
			got := asks(ctx, c)
			lobby.isAsked(t, n)
			cancel()
			require.Equal(t, Canceled, KindOf(receive(t, got).err))
		}
		assert.Equal(t, closed, c.circuit.state())
	})
}

// A question whose attempts open the circuit ends with what it met, at once.
func TestCircuitEndsTheAttempts(t *testing.T) {
	lobby := newStub(t, says(500, ""))
	c := newClient(t, lobby.URL, func(o *Options) { o.FailureLimit = 2 })
	assert.Equal(t, Unavailable, kindOf(c))
	assert.EqualValues(t, 2, lobby.asked.Load())
}

func TestMetrics(t *testing.T) {
	lobby := newStub(t, says(200, chess), says(404, ""), says(500, ""))
	c := newClient(t, lobby.URL, once)
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.Collectors()...)
	for range 6 {
		kindOf(c)
	}
	requests := func(outcome string) float64 { return testutil.ToFloat64(c.metrics.requests.WithLabelValues(outcome)) }
	assert.EqualValues(t, 1, requests(found))
	assert.EqualValues(t, 1, requests("not_found"))
	assert.EqualValues(t, 3, requests("unavailable"))
	assert.EqualValues(t, 1, requests("circuit_open"))
	assert.EqualValues(t, 2, testutil.ToFloat64(c.metrics.circuit))
	count, err := testutil.GatherAndCount(registry)
	require.NoError(t, err)
	assert.Equal(t, len(kinds)+1+2, count, "each outcome is there from the start")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Empty(t, problems)
}
