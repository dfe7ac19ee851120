package controllers

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/events"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/plan"
)

// saysOnce makes the game write a line and end.
func saysOnce(s *v1alpha1.GameRuntimeSpec) {
	s.Args, s.RestartPolicy = []string{enginetest.Say, "out of turns"}, v1alpha1.RestartNever
}

func TestLastWordsAreKept(t *testing.T) {
	w := newWorld(t)
	w.declare(saysOnce)
	w.step()
	w.seen(func(v engine.View) bool { return len(v.Containers) == 1 && v.Containers[0].Exit != nil })
	w.settle()
	end := w.read().Status.LastTermination
	require.Equal(t, v1alpha1.TerminationCompleted, end.Reason)
	require.Equal(t, "out of turns", end.Log)
	w.step()
	require.Equal(t, 1, w.sim.Calls("Logs"), "they are asked for once")
}

func TestLastWordsThatCannotBeHadHoldNothingUp(t *testing.T) {
	w := newWorld(t)
	w.sim.Inject(enginetest.Fault{Verb: "Logs", Kind: engine.Failed})
	w.declare(saysOnce)
	w.step()
	w.seen(func(v engine.View) bool { return len(v.Containers) == 1 && v.Containers[0].Exit != nil })
	w.settle()
	end := w.read().Status.LastTermination
	require.Equal(t, v1alpha1.TerminationCompleted, end.Reason)
	require.Empty(t, end.Log)
	require.Equal(t, 1, w.sim.Calls("Logs"), "and they are not asked for again")
}

func stopWith(handler v1alpha1.LifecycleHandler) func(*v1alpha1.GameRuntimeSpec) {
	return func(s *v1alpha1.GameRuntimeSpec) { s.Lifecycle.PreStop = &handler }
}

func running(command ...string) v1alpha1.LifecycleHandler {
	return v1alpha1.LifecycleHandler{Exec: &v1alpha1.ExecAction{Command: command}}
}

func TestPreStopRunsBeforeTheStop(t *testing.T) {
	w := newWorld(t)
	w.declare(stopWith(running(enginetest.GamePath, enginetest.Say, "bye")))
	w.settle()
	begun := make(chan struct{})
	w.engine = &watched{Sim: w.sim, exec: func() {
		require.Len(t, w.sim.Running(chess), 1)
		require.Zero(t, w.sim.Calls("Stop"))
		close(begun)
	}}
	w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
	w.settle()
	<-begun
	require.Equal(t, v1alpha1.PhaseStopped, w.read().Status.Phase)
	require.NotContains(t, w.events(), v1alpha1.ReasonPreStopFailed)
}

// watched is an engine that tells when a program is run.
type watched struct {
	*enginetest.Sim
	exec func()
}

func (e *watched) Exec(ctx context.Context, id string, command []string) (engine.ExecResult, error) {
	e.exec()
	return e.Sim.Exec(ctx, id, command)
}

func TestPreStopThatFailsIsToldAndHoldsNothingUp(t *testing.T) {
	for name, c := range map[string]struct {
		handler v1alpha1.LifecycleHandler
		want    string
	}{
		"fails":        {running(enginetest.GamePath, enginetest.Exit, "3"), "/game ended with exit code 3"},
		"is not there": {running("/no/such/program"), "exit code 127"},
		"hangs":        {running(enginetest.GamePath, enginetest.Exit, "0", "1h"), "did not end within the grace period"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.declare(stopWith(c.handler))
			w.settle()
			w.change(func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped })
			w.settle()
			require.Equal(t, v1alpha1.PhaseStopped, w.read().Status.Phase)
			require.Contains(t, w.events(), "Warning "+v1alpha1.ReasonPreStopFailed+" preStop failed: ")
			require.Contains(t, w.told, c.want)
		})
	}
}

// events are all that were told so far.
func (w *world) events() string {
	for {
		select {
		case event := <-w.recorder.(*events.FakeRecorder).Events:
			w.told += event + "\n"
		default:
			return w.told
		}
	}
}

func TestPreStopAsksTheGame(t *testing.T) {
	w := newWorld(t)
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/stop", r.URL.Path)
		answer.WriteHeader(status)
	}))
	defer server.Close()
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	number, err := strconv.ParseInt(port, 10, 32)
	require.NoError(t, err)
	view := engine.View{Containers: []engine.Container{{ID: "c1", IP: host}, {ID: "c2"}}}
	handler := v1alpha1.LifecycleHandler{HTTPGet: &v1alpha1.HTTPGetAction{Path: "/stop", Port: int32(number)}}
	require.NoError(t, w.handle(t.Context(), view, "c1", handler))
	require.ErrorContains(t, w.handle(t.Context(), view, "c2", handler), "address")
	status = http.StatusServiceUnavailable
	require.ErrorContains(t, w.handle(t.Context(), view, "c1", handler), "503")
}

func TestPreStopSharesTheGracePeriod(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	handler := running(enginetest.GamePath, enginetest.Say, "bye")
	for took, left := range map[time.Duration]time.Duration{0: 30 * time.Second, 20 * time.Second: 10 * time.Second, 29 * time.Second: leastStop} {
		w.engine = &watched{Sim: w.sim, exec: func() { w.clock.Step(took) }}
		a := plan.StopContainer{ID: w.container().ID, Grace: 30 * time.Second, PreStop: &handler}
		require.Equal(t, left, w.preStop(t.Context(), plan.Input{Record: w.read()}, a))
	}
	require.Zero(t, w.preStop(t.Context(), plan.Input{}, plan.StopContainer{}), "without one there is nothing to share")
}

func TestProbesRunProgramsInTheContainer(t *testing.T) {
	w := newWorld(t)
	w.declare(nil)
	w.settle()
	command := []string{enginetest.GamePath, enginetest.Exit, "3"}
	code, _, err := programsOn(w.sim)(t.Context(), w.container().ID, command)
	require.NoError(t, err)
	require.EqualValues(t, 3, code)
}
