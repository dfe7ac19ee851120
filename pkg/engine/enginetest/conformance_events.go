package enginetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// following is an event stream that is being read.
type following struct {
	events chan engine.Event
	end    func() error
}

// follow begins a stream and returns once it stands.
func (f Fixture) follow(t *testing.T, since time.Time) following {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	subscribed, ended := make(chan struct{}), make(chan error, 1)
	events := make(chan engine.Event, buffered)
	go func() {
		ended <- f.Engine.Events(ctx, f.Installation, since, func() { close(subscribed) }, func(e engine.Event) { events <- e })
	}()
	var result error
	gone := false
	stream := following{events: events, end: func() error {
		if cancel(); !gone {
			result, gone = <-ended, true
		}
		return result
	}}
	t.Cleanup(func() { _ = stream.end() })
	select {
	case <-subscribed:
	case <-time.After(patience):
		require.FailNow(t, "the stream does not stand")
	}
	return stream
}

func (s following) next(t *testing.T) engine.Event {
	t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(patience):
		require.FailNow(t, "no event came")
		return engine.Event{}
	}
}

func (s following) actions(t *testing.T, n int) []string {
	t.Helper()
	var actions []string
	for range n {
		actions = append(actions, s.next(t).Action)
	}
	return actions
}

func testEvents(t *testing.T, f Fixture) {
	heard := f.follow(t, time.Time{})
	id := f.serve(t, f.spec("chess"))
	f.stop(t, id, "SIGTERM")
	require.NoError(t, f.Engine.UpdateResources(within(t, patience), id, engine.Resources{NanoCPUs: 250_000_000, MemoryBytes: 96 << 20, Pids: 32}))
	f.remove(t, id)
	first := heard.next(t)
	require.Equal(t, id, first.ContainerID)
	require.Equal(t, engine.GameID{Namespace: "arena", Name: "chess"}, first.Game)
	require.Equal(t, "create", first.Action)
	require.WithinDuration(t, time.Now(), first.At, time.Minute)
	require.Equal(t, "start", heard.next(t).Action)
	kill := heard.next(t)
	require.Equal(t, []string{"kill", "SIGTERM"}, []string{kill.Action, kill.Signal}, "that somebody sent a signal, and which")
	require.Equal(t, []string{"die", "update", "destroy"}, heard.actions(t, 3))

	hog := f.run(t, f.spec("go", Hog))
	f.ended(t, hog)
	require.Equal(t, []string{"create", "start", "oom", "die"}, heard.actions(t, 4))

	broken := f.spec("shogi")
	broken.Entrypoint = []string{"/no/such/program"}
	id = f.create(t, broken)
	require.Error(t, f.Engine.Start(within(t, patience), id))
	f.remove(t, id)
	require.Equal(t, []string{"create", "destroy"}, heard.actions(t, 2), "nothing tells of a start that failed")
}

func testEventsSince(t *testing.T, f Fixture) {
	heard := f.follow(t, time.Time{})
	id := f.serve(t, f.spec("chess"))
	require.Equal(t, "create", heard.next(t).Action)
	started := heard.next(t)
	_ = heard.end()
	f.stop(t, id, "SIGTERM") // nobody listens

	late := f.follow(t, started.At)
	require.Equal(t, started, late.next(t), "from then on, and that one too")
	require.Equal(t, []string{"kill", "die"}, late.actions(t, 2))
	f.remove(t, id)
	require.Equal(t, "destroy", late.next(t).Action, "and what happens now")

	fresh := f.follow(t, time.Time{})
	f.create(t, f.spec("go"))
	require.Equal(t, "go", fresh.next(t).Game.Name, "without a since nothing is replayed")
}

func testEventsEnd(t *testing.T, f Fixture) {
	requireKind(t, engine.Timeout, f.follow(t, time.Time{}).end())
}

func testDeadline(t *testing.T, f Fixture) {
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	id := f.run(t, f.spec("chess"))
	for verb, call := range verbs(f, f.Engine, id) {
		t.Run(verb, func(t *testing.T) { requireKind(t, engine.Timeout, call(ctx)) })
	}
	require.Equal(t, engine.StateRunning, f.inspect(t, id).State)
}

func testAway(t *testing.T, f Fixture) {
	for verb, call := range verbs(f, f.Away, "0123456789ab") {
		t.Run(verb, func(t *testing.T) { requireKind(t, engine.Unreachable, call(within(t, patience))) })
	}
}

// verbs are all calls that an engine knows.
func verbs(f Fixture, e Engine, id string) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Info":         func(ctx context.Context) error { _, err := e.Info(ctx); return err },
		"List":         func(ctx context.Context) error { _, err := e.List(ctx, f.Installation); return err },
		"Inspect":      func(ctx context.Context) error { _, err := e.Inspect(ctx, id); return err },
		"InspectImage": func(ctx context.Context) error { _, err := e.InspectImage(ctx, f.Image); return err },
		"Images":       func(ctx context.Context) error { _, err := e.Images(ctx); return err },
		"Logs":         func(ctx context.Context) error { _, err := e.Logs(ctx, id, 10); return err },
		"Events": func(ctx context.Context) error {
			return e.Events(ctx, f.Installation, time.Time{}, func() {}, func(engine.Event) {})
		},
		"EnsureNetwork": func(ctx context.Context) error { return e.EnsureNetwork(ctx, f.network(), f.Installation) },
		"PullImage":     func(ctx context.Context) error { return e.PullImage(ctx, nowhere, nil) },
		"Create":        func(ctx context.Context) error { _, err := e.Create(ctx, f.spec("late")); return err },
		"Start":         func(ctx context.Context) error { return e.Start(ctx, id) },
		"Stop":          func(ctx context.Context) error { return e.Stop(ctx, id, "SIGTERM", grace) },
		"Exec":          func(ctx context.Context) error { _, err := e.Exec(ctx, id, []string{GamePath, Say}); return err },
		"Output": func(ctx context.Context) error {
			_, err := e.Output(ctx, id, engine.OutputOptions{Stdout: true})
			return err
		},
		"Run": func(ctx context.Context) error {
			_, err := e.Run(ctx, id, engine.Program{Command: []string{GamePath, Say}})
			return err
		},
		"Usage":  func(ctx context.Context) error { _, err := e.Usage(ctx, id); return err },
		"Remove": func(ctx context.Context) error { return e.Remove(ctx, id) },
		"UpdateResources": func(ctx context.Context) error {
			return e.UpdateResources(ctx, id, engine.Resources{NanoCPUs: 250_000_000, MemoryBytes: 96 << 20, Pids: 32})
		},
	}
}
