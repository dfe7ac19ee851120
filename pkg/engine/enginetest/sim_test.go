package enginetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testImage    = "galaxy/game:1.0.0"
	remoteImage  = "registry.example:5000/galaxy/game:1.0.0"
	checkedImage = "galaxy/checked-game:1.0.0"
)

func newSimFixture(*testing.T) Fixture {
	away := NewSim()
	away.SetDown(true)
	s := NewSim(testImage, checkedImage)
	s.AddHealthcheck(checkedImage)
	s.Publish(remoteImage)
	return Fixture{
		Engine: s, Away: away, Installation: "ours", Image: testImage, Checked: checkedImage, Published: remoteImage,
		Listens: func(engine.Container) bool { return true },
	}
}

func TestSimConformance(t *testing.T) {
	Conformance(t, newSimFixture)
}

// A tag names what was published or built last, and its old image stays.
func TestSimMovesTags(t *testing.T) {
	s := NewSim()
	requireKind(t, engine.PullFailed, s.PullImage(t.Context(), testImage, nil))
	ids := map[string]bool{}
	for _, move := range []func(string){s.Publish, s.Publish, s.TagByHand} {
		move(testImage)
		if len(ids) < 2 {
			require.NoError(t, s.PullImage(t.Context(), testImage, nil))
		}
		image, err := s.InspectImage(t.Context(), testImage)
		require.NoError(t, err)
		ids[image.ID] = true
	}
	require.Len(t, ids, 3)
	images, err := s.Images(t.Context())
	require.NoError(t, err)
	require.Len(t, images, 3)
}

func TestSimFaults(t *testing.T) {
	const soon = 20 * time.Millisecond
	cases := map[string]struct {
		fault Fault
		kinds []engine.Kind // of one create after another
		made  int
	}{
		"every call":            {Fault{Verb: "Create", Kind: engine.Failed}, []engine.Kind{engine.Failed, engine.Failed}, 0},
		"the second call":       {Fault{Verb: "Create", Kind: engine.Failed, Call: 2}, []engine.Kind{"", engine.Failed, ""}, 2},
		"another verb":          {Fault{Verb: "Start", Kind: engine.Failed}, []engine.Kind{""}, 1},
		"another name":          {Fault{Verb: "Create", On: "nobody", Kind: engine.Failed}, []engine.Kind{""}, 1},
		"a hang":                {Fault{Verb: "Create", Hang: true, Call: 1}, []engine.Kind{engine.Timeout, ""}, 1},
		"a short delay":         {Fault{Verb: "Create", Delay: time.Millisecond}, []engine.Kind{""}, 1},
		"a delay and a failure": {Fault{Verb: "Create", Delay: time.Millisecond, Kind: engine.Failed}, []engine.Kind{engine.Failed}, 0},
		"a long delay":          {Fault{Verb: "Create", Delay: time.Hour}, []engine.Kind{engine.Timeout}, 0},
		"the answer lost":       {Fault{Verb: "Create", AfterEffect: true, Hang: true}, []engine.Kind{engine.Timeout, engine.NameConflict}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newSimFixture(t)
			s := f.Engine.(*Sim)
			mend := s.Inject(c.fault)
			for i, kind := range c.kinds {
				spec := f.spec("chess")
				if kind != engine.NameConflict && i > 0 {
					spec.Name += string(rune('a' + i))
				}
				_, err := s.Create(within(t, soon), spec)
				require.Equal(t, kind, engine.KindOf(err), "call %d: %v", i+1, err)
			}
			require.Len(t, f.list(t), c.made)
			require.Equal(t, len(c.kinds), s.Calls("Create"))
			mend()
			f.create(t, f.spec("mended"))
		})
	}
	require.Panics(t, func() { NewSim().Inject(Fault{Verb: "Crate"}) }, "a verb that is none would never strike")
}

// A container is what a fault is on, by id or by name; another one is well.
func TestSimHangsOneContainer(t *testing.T) {
	f := newSimFixture(t)
	sick, well := f.run(t, f.spec("sick")), f.run(t, f.spec("well"))
	f.Engine.(*Sim).Inject(Fault{Verb: "Inspect", On: f.spec("sick").Name, Hang: true})
	_, err := f.Engine.Inspect(within(t, 10*time.Millisecond), sick)
	requireKind(t, engine.Timeout, err)
	f.inspect(t, well)
	require.Len(t, f.list(t), 2, "a list does not wait for it")
}

func TestSimEndsBehindOurBack(t *testing.T) {
	f := newSimFixture(t)
	s := f.Engine.(*Sim)
	id := f.run(t, f.spec("chess"))
	game := f.inspect(t, id).Game
	require.Equal(t, []string{id}, s.Running(game))

	s.Kill(id, Ending{Code: 137, OOM: true})
	require.True(t, f.ended(t, id).OOMKilled)
	require.Empty(t, s.Running(game))

	f.start(t, id)
	s.Kill(f.spec("chess").Name, Ending{Code: 2})
	require.EqualValues(t, 2, f.ended(t, id).Code)

	s.RemoveByHand(id)
	require.Empty(t, f.list(t))
}

// The end that a stop has in store is for the run that it was asked for.
func TestSimSparesTheNextRun(t *testing.T) {
	const grace = 20 * time.Millisecond
	f := newSimFixture(t)
	id := f.run(t, f.spec("chess", Stubborn))
	requireKind(t, engine.Timeout, f.Engine.Stop(within(t, time.Millisecond), id, "SIGTERM", grace))
	f.Engine.(*Sim).Kill(id, Ending{Code: 2})
	f.start(t, id)
	require.Never(t, func() bool { return f.inspect(t, id).Exit != nil }, 3*grace, tick)
}

func TestSimDownAndUp(t *testing.T) {
	f := newSimFixture(t)
	s := f.Engine.(*Sim)
	id := f.run(t, f.spec("chess"))
	heard := f.follow(t, time.Time{})
	s.SetDown(true)
	requireKind(t, engine.Unreachable, heard.end())
	_, err := s.List(t.Context(), f.Installation)
	requireKind(t, engine.Unreachable, err)
	s.SetDown(false)
	require.Equal(t, engine.StateRunning, f.inspect(t, id).State)
}

func TestSimReboot(t *testing.T) {
	f := newSimFixture(t)
	s := f.Engine.(*Sim)
	begin := time.Now()
	id := f.run(t, f.spec("chess"))
	heard := f.follow(t, time.Time{})
	s.Reboot()
	requireKind(t, engine.Unreachable, heard.end())
	require.EqualValues(t, 255, f.ended(t, id).Code)

	late := f.follow(t, begin)
	f.start(t, id)
	require.Equal(t, "start", late.next(t).Action, "what was before is forgotten")
}

func TestSimLosesEvents(t *testing.T) {
	f := newSimFixture(t)
	s := f.Engine.(*Sim)
	heard := f.follow(t, time.Time{})
	s.LoseEvents(true)
	id := f.create(t, f.spec("chess"))
	s.LoseEvents(false)
	f.start(t, id)
	require.Equal(t, "start", heard.next(t).Action)
}

// A reader that does not keep up loses events, and is not told.
func TestSimSlowReaderLosesEvents(t *testing.T) {
	f := newSimFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	events, subscribed, ended := make(chan engine.Event), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- f.Engine.Events(ctx, f.Installation, time.Time{}, func() { close(subscribed) }, func(e engine.Event) { events <- e })
	}()
	<-subscribed
	id := f.create(t, f.spec("chess"))
	require.Equal(t, "create", (<-events).Action)
	const lost = 10
	for range buffered + 1 + lost { // one of them may be in the reader's hands
		require.NoError(t, f.Engine.UpdateResources(t.Context(), id, engine.Resources{}))
	}
	require.Equal(t, "update", (<-events).Action)
	require.Equal(t, "update", (<-events).Action)
	f.remove(t, id) // there is room again
	updates := 2
	for (<-events).Action == "update" {
		updates++
	}
	require.Contains(t, []int{buffered, buffered + 1}, updates)
	cancel()
	requireKind(t, engine.Timeout, <-ended)
}
