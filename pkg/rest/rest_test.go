package rest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
)

// A call in the group shares one server with the others, and has games of its own.
func TestCalls(t *testing.T) {
	b := newBench(t, nil)
	for name, run := range map[string]func(*bench){
		"a start declares a game": testStart,
		"a start that waits":      testStartWaits,
		"a stop":                  testStop,
		"a stop that waits":       testStopWaits,
		"a game without a record": testNoRecord,
	} {
		t.Run(name, func(t *testing.T) {
			in := *b
			in.t = t
			run(&in)
		})
	}
}

func testStart(b *bench) {
	got := b.start("started").is(b.t, http.StatusAccepted, "")
	require.Equal(b.t, command.Success, got.Result.Outcome)
	require.Equal(b.t, "started", got.Runtime.GameID)
	require.Equal(b.t, "Running", got.Runtime.State)
	require.Equal(b.t, image, got.Runtime.Image)
	require.Equal(b.t, etag(got.Runtime.Revision), got.header.Get("ETag"))

	again := b.start("started").is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
	require.Equal(b.t, got.Runtime.Revision, again.Runtime.Revision)

	read := b.do("GET", "/runtimes/started").is(b.t, http.StatusOK, "")
	require.Equal(b.t, got.Runtime, read.Runtime)
	require.Equal(b.t, got.header.Get("ETag"), read.header.Get("ETag"))
	b.do("GET", "/runtimes/started", with("If-None-Match", read.header.Get("ETag"))).is(b.t, http.StatusNotModified, "")
}

func testStartWaits(b *bench) {
	done := make(chan answered, 1)
	go func() {
		got, _ := b.try("POST", "/runtimes/awaited/start?wait=15s", body(`{"image":"`+image+`"}`))
		done <- got
	}()
	b.asks("awaited", func(g *v1alpha1.GameRuntime) bool { return true })
	b.tell("awaited", waiting(v1alpha1.ReasonPulling, "pulling "+image, 0))
	b.tell("awaited", running)
	got := <-done
	got.is(b.t, http.StatusOK, "")
	require.Equal(b.t, "op-start", got.Result.OperationID)
	require.Equal(b.t, "http://awaited:8080", got.Runtime.Endpoint)
	require.Equal(b.t, map[string]int32{"http": 32001}, got.Runtime.HostPorts)
	require.Equal(b.t, "c-1", got.Runtime.ContainerID)
}

func testStop(b *bench) {
	b.start("stopped")
	got := b.do("POST", "/runtimes/stopped/stop").is(b.t, http.StatusAccepted, "")
	require.Equal(b.t, "Stopped", got.Runtime.State)
	b.do("POST", "/runtimes/stopped/stop", body("{}")).is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
}

func testStopWaits(b *bench) {
	b.start("halted")
	b.tell("halted", running)
	done := make(chan answered, 1)
	go func() {
		got, _ := b.try("POST", "/runtimes/halted/stop?wait=15s")
		done <- got
	}()
	b.asks("halted", func(g *v1alpha1.GameRuntime) bool { return g.Spec.State == v1alpha1.StateStopped })
	b.tell("halted", stopped)
	got := <-done
	got.is(b.t, http.StatusOK, "")
	require.Equal(b.t, "op-stop", got.Result.OperationID)
}

func testNoRecord(b *bench) {
	b.do("GET", "/runtimes/nobody").is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.do("POST", "/runtimes/nobody/stop").is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.do("DELETE", "/runtimes/nobody").is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
	b.do("POST", "/runtimes/nobody/start").is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "image")
}
