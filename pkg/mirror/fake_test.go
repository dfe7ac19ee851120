package mirror

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// theList and theImages stand for the lists among the containers that a test holds.
const (
	theList   = "list"
	theImages = "images"
)

// fakeReader is an engine of which a test controls every answer.
type fakeReader struct {
	mu         sync.Mutex
	down       bool
	listFails  bool
	containers map[string]engine.Container
	images     []engine.Image
	// hold makes an inspect of a container, or the list, once it has its answer,
	// wait for the channel to close or for the caller to give up.
	hold   map[string]chan struct{}
	held   chan string // those that wait
	events chan engine.Event
	cut    chan struct{}
	since  []time.Time // of each stream
	id     string      // of the engine
	booted time.Time   // its host, if that is ours
	// waiting counts the calls that are held, most is the most at any time.
	waiting, most int
}

func newFake() *fakeReader {
	return &fakeReader{
		containers: map[string]engine.Container{}, hold: map[string]chan struct{}{}, held: make(chan string, 1000),
		events: make(chan engine.Event), cut: make(chan struct{}), id: "e",
	}
}

var (
	errAway   = &engine.Error{Op: "ask", Kind: engine.Unreachable, Err: errors.New("connection refused")}
	errBroken = &engine.Error{Op: "list", Kind: engine.Failed, Err: errors.New("no list today")}
)

func (f *fakeReader) Info(context.Context) (engine.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return engine.Info{}, errAway
	}
	return engine.Info{ID: f.id, Name: "host", BootedAt: f.booted}, nil
}

func (f *fakeReader) List(ctx context.Context, _ string) ([]engine.Container, error) {
	all, err := f.list()
	if held := f.wait(ctx, theList); held != nil {
		return nil, held
	}
	return all, err
}

func (f *fakeReader) list() (all []engine.Container, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errAway
	}
	if f.listFails {
		return nil, errBroken
	}
	for _, c := range f.containers {
		c.Inspected, c.Exit, c.StartedAt = false, nil, time.Time{}
		c.CreatedAt = c.CreatedAt.Truncate(time.Second)
		all = append(all, c)
	}
	return all, nil
}

func (f *fakeReader) Images(ctx context.Context) ([]engine.Image, error) {
	f.mu.Lock()
	images := f.images
	f.mu.Unlock()
	return images, f.wait(ctx, theImages)
}

func (f *fakeReader) Inspect(ctx context.Context, id string) (engine.Container, error) {
	f.mu.Lock()
	c, there := f.containers[id]
	f.mu.Unlock()
	if err := f.wait(ctx, id); err != nil {
		return engine.Container{}, err
	}
	if !there {
		return engine.Container{}, &engine.Error{Op: "inspect", Kind: engine.NotFound, Err: errors.New("no such container")}
	}
	c.Inspected = true
	return c, nil
}

// wait waits while a container, or the list, is held.
func (f *fakeReader) wait(ctx context.Context, what string) error {
	f.mu.Lock()
	hold := f.hold[what]
	if hold == nil {
		f.mu.Unlock()
		return nil
	}
	f.waiting++
	f.most = max(f.most, f.waiting)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.waiting--
	}()
	f.held <- what
	select {
	case <-hold:
		return nil
	case <-ctx.Done():
		return &engine.Error{Op: "ask", Kind: engine.Timeout, Err: ctx.Err()}
	}
}

func (f *fakeReader) InspectImage(_ context.Context, ref string) (engine.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, image := range f.images {
		if slices.Contains(image.Tags, ref) {
			return image, nil
		}
	}
	return engine.Image{}, &engine.Error{Op: "inspect image", Kind: engine.NotFound, Err: errors.New("no such image")}
}

func (f *fakeReader) setImages(images ...engine.Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images = images
}

func (f *fakeReader) Logs(context.Context, string, int) (string, error) { return "", errAway }

func (f *fakeReader) Events(ctx context.Context, _ string, since time.Time, subscribed func(), handle func(engine.Event)) error {
	f.mu.Lock()
	cut := f.cut
	f.since = append(f.since, since)
	f.mu.Unlock()
	subscribed()
	for {
		select {
		case e := <-f.events:
			handle(e)
		case <-cut:
			return errAway
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// set changes a container without telling.
func (f *fakeReader) set(id string, state engine.State, change ...func(*engine.Container)) {
	c := engine.Container{ID: id, Game: chess, Installation: "i", State: state}
	for _, f := range change {
		f(&c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers[id] = c
}

func (f *fakeReader) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, id)
}

// tell sends an event of a container, and returns when it happened.
func (f *fakeReader) tell(id string) time.Time {
	at := time.Now()
	f.tellOf(id, at)
	return at
}

// tellOf sends an event of something that happened before.
func (f *fakeReader) tellOf(id string, at time.Time) {
	f.events <- engine.Event{ContainerID: id, Game: chess, Action: "x", At: at}
}

// hang makes inspects of a container, or the list, wait until release.
func (f *fakeReader) hang(what string) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hold := make(chan struct{})
	f.hold[what] = hold
	return func() {
		f.mend(what)
		close(hold)
	}
}

// mend lets the next ones through; those that wait, wait on.
func (f *fakeReader) mend(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.hold, what)
}

func (f *fakeReader) cutStream() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.cut)
	f.cut = make(chan struct{})
}

func (f *fakeReader) setDown(down bool) {
	f.mu.Lock()
	f.down = down
	f.mu.Unlock()
	if down {
		f.cutStream()
	}
}

func (f *fakeReader) setListFails(fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listFails = fails
}

func (f *fakeReader) lastSince() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since[len(f.since)-1]
}
