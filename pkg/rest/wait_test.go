package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// later makes a request that waits.
func (b *bench) later(method, path string, options ...option) <-chan answered {
	b.t.Helper()
	done := make(chan answered, 1)
	go func() {
		got, _ := b.try(method, path, options...) // no answer is another one than was wanted
		done <- got
	}()
	return done
}

func declared(*v1alpha1.GameRuntime) bool { return true }

func asksFor(state v1alpha1.DesiredState) func(*v1alpha1.GameRuntime) bool {
	return func(g *v1alpha1.GameRuntime) bool { return g.Spec.State == state }
}

var startBody = body(`{"image":"` + image + `"}`)

// Whoever waits is answered with what came of it, and by which operation.
func testWait(b *bench) {
	start := b.later("POST", "/runtimes/awaited/start?wait=15s", startBody)
	b.asks("awaited", declared)
	b.tell("awaited", waiting(v1alpha1.ReasonPulling, "pulling "+image, 0))
	b.tell("awaited", running)
	got := (<-start).is(b.t, http.StatusOK, "")
	require.Equal(b.t, "op-start", got.Result.OperationID)
	require.Equal(b.t, "http://awaited:8080", got.Runtime.Endpoint)
	require.Equal(b.t, map[string]int32{"http": 32001}, got.Runtime.HostPorts)
	require.Equal(b.t, "c-1", got.Runtime.ContainerID)
	b.do("POST", "/runtimes/awaited/start?wait=15s", startBody).is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)

	stop := b.later("POST", "/runtimes/awaited/stop?wait=15s")
	b.asks("awaited", asksFor(v1alpha1.StateStopped))
	b.tell("awaited", stopped)
	got = (<-stop).is(b.t, http.StatusOK, "")
	require.Equal(b.t, "op-stop", got.Result.OperationID)
	require.Equal(b.t, "stopped", got.Runtime.ContainerState)

	b.keep("awaited")
	gone := b.later("DELETE", "/runtimes/awaited?wait=15s")
	b.asks("awaited", func(g *v1alpha1.GameRuntime) bool { return !g.DeletionTimestamp.IsZero() })
	b.letGo("awaited")
	require.Nil(b.t, (<-gone).is(b.t, http.StatusOK, "").Runtime)
}

// A failure is told with the first try, and what was asked for stands.
func testWaitFails(b *bench) {
	for reason, c := range map[string]struct {
		status int
		code   string
	}{
		v1alpha1.ReasonImagePullFailed: {http.StatusBadGateway, v1alpha1.CodeImagePullFailed},
		v1alpha1.ReasonStartFailed:     {http.StatusBadGateway, v1alpha1.CodeContainerStartFailed},
		v1alpha1.ReasonSpecRejected:    {http.StatusUnprocessableEntity, v1alpha1.CodeStartConfigInvalid},
		v1alpha1.ReasonNameConflict:    {http.StatusConflict, v1alpha1.CodeConflict},
		v1alpha1.ReasonUnresponsive:    {http.StatusServiceUnavailable, v1alpha1.CodeDockerUnavailable},
		v1alpha1.ReasonEngineTimeout:   {http.StatusGatewayTimeout, v1alpha1.CodeTimeout},
	} {
		game := "fails-" + strings.ToLower(reason)
		start := b.later("POST", "/runtimes/"+game+"/start?wait=15s", startBody)
		b.asks(game, declared)
		b.tell(game, waiting(reason, "it is so", 1))
		got := (<-start).is(b.t, c.status, c.code).says(b.t, "goes on being tried")
		require.Equal(b.t, reason, got.Runtime.Pending.Reason)
		require.Equal(b.t, "Running", got.Runtime.State)
	}
}

// When the time is over the answer says what it waits for, and the wish stands.
func testWaitOver(b *bench) {
	got := b.start("idle-wait", with("X-Request-Id", "late")).is(b.t, http.StatusAccepted, "")
	b.do("POST", "/runtimes/idle-wait/start?wait=10ms", startBody).is(b.t, http.StatusGatewayTimeout, v1alpha1.CodeTimeout)
	b.tell("idle-wait", waiting(v1alpha1.ReasonPulling, "pulling the image", 0))
	late := b.do("POST", "/runtimes/idle-wait/start?wait=10ms", startBody).is(b.t, http.StatusGatewayTimeout, v1alpha1.CodeTimeout).says(b.t, "pulling the image")
	require.Equal(b.t, got.Runtime.Generation, late.Runtime.Generation)
	require.Equal(b.t, "1", late.header.Get("Retry-After"))

	b.tell("idle-wait", func(g *v1alpha1.GameRuntime) {
		waiting(v1alpha1.ReasonEngineUnreachable, "the engine does not answer", 0)(g)
		g.Status.Conditions[0].Status = metav1.ConditionFalse
	})
	b.do("POST", "/runtimes/idle-wait/start?wait=10ms", startBody).is(b.t, http.StatusServiceUnavailable, v1alpha1.CodeDockerUnavailable)
	b.do("POST", "/runtimes/idle-wait/stop?wait=0s").is(b.t, http.StatusAccepted, "")
}

// Somebody asks for something else meanwhile.
func testWaitOvertaken(b *bench) {
	start := b.later("POST", "/runtimes/overtaken/start?wait=15s", startBody)
	b.asks("overtaken", declared)
	b.do("POST", "/runtimes/overtaken/stop", by("admin")).is(b.t, http.StatusAccepted, "")
	got := (<-start).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
	require.Equal(b.t, "Stopped", got.Runtime.State)
}

func testWaitGone(b *bench) {
	start := b.later("POST", "/runtimes/short-lived/start?wait=15s", startBody)
	b.asks("short-lived", declared)
	b.do("DELETE", "/runtimes/short-lived", by("admin")).is(b.t, http.StatusAccepted, "")
	(<-start).is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
}

// All who wait share one watch.
func testManyWait(b *bench) {
	const many = 50
	var all []<-chan answered
	b.start("popular")
	for range many {
		all = append(all, b.later("POST", "/runtimes/popular/start?wait=15s", startBody))
	}
	b.waits("popular", many)
	b.tell("popular", running)
	for _, one := range all {
		(<-one).is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
	}
	b.waits("popular", 0)
}

// The wish of a caller who hangs up stands, and nothing is left of the wait.
func testCallerGoes(b *bench) {
	ctx, hangUp := context.WithCancel(context.Background())
	gone := make(chan error, 1)
	go func() {
		request, err := http.NewRequestWithContext(ctx, "POST", b.url+"/runtimes/hasty/start?wait=5m", strings.NewReader(`{"image":"`+image+`"}`))
		if err == nil {
			request.Header.Set(headerCaller, "lobby")
			_, err = http.DefaultClient.Do(request) // there is no answer
		}
		gone <- err
	}()
	b.asks("hasty", declared)
	hangUp()
	require.ErrorIs(b.t, <-gone, context.Canceled)
	b.waits("hasty", 0)
	b.do("GET", "/runtimes/hasty").is(b.t, http.StatusOK, "")
}

// Only so many may wait at one time; those who do not are served.
func testTooManyWait(b *bench) {
	b = b.replica(func(o *Options) { o.MaxWaits = 1 })
	first := b.later("POST", "/runtimes/first/start?wait=15s", startBody)
	b.asks("first", declared)
	for method, path := range map[string]string{"POST": "/runtimes/first/start?wait=15s", "DELETE": "/runtimes/first?wait=15s"} {
		got := b.do(method, path).is(b.t, http.StatusTooManyRequests, v1alpha1.CodeRateLimited)
		require.Equal(b.t, "1", got.header.Get("Retry-After"))
	}
	b.start("second").is(b.t, http.StatusAccepted, "")
	b.tell("first", running)
	(<-first).is(b.t, http.StatusOK, "")
	b.do("POST", "/runtimes/first/start?wait=15s", startBody).is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
}

// keep holds a record with a finalizer, as the reconciler does until the container
// is gone; letGo is its end.
func (b *bench) keep(game string)  { b.finalizers(game, `["runtime.galaxy.io/engine"]`) }
func (b *bench) letGo(game string) { b.finalizers(game, `null`) }
