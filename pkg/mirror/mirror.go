package mirror

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Options say what to mirror and whom to tell. Zero values take the defaults.
type Options struct {
	Reader       engine.Reader
	Installation string
	Log          logr.Logger
	Clock        clock.WithTicker
	// Resync is how often everything is listed, give or take a tenth; 5 min.
	Resync time.Duration
	// ListTimeout and InspectTimeout bound one call; 30 s and 10 s.
	ListTimeout    time.Duration
	InspectTimeout time.Duration
	// Inspectors is how many containers are inspected at once; 8. Patience is how
	// long one may keep its inspector; 1 s.
	Inspectors int
	Patience   time.Duration
	// SlowInspectors ask beside them about containers that did not answer in
	// that time; 2. Refreshes is how many callers of Refresh ask at once; 16. No
	// more inspects than the sum of the three are ever in flight.
	SlowInspectors int
	Refreshes      int
	// OnChange is told of each game whose view changed, OnFleet of each change
	// of the engine's reachability or identity. They are called without locks
	// and must not block.
	OnChange func(engine.GameID)
	OnFleet  func(engine.Fleet)
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Resync == 0 {
		o.Resync = 5 * time.Minute
	}
	if o.ListTimeout == 0 {
		o.ListTimeout = 30 * time.Second
	}
	if o.InspectTimeout == 0 {
		o.InspectTimeout = 10 * time.Second
	}
	if o.Inspectors == 0 {
		o.Inspectors = 8
	}
	if o.Patience == 0 {
		o.Patience = time.Second
	}
	if o.SlowInspectors == 0 {
		o.SlowInspectors = 2
	}
	if o.Refreshes == 0 {
		o.Refreshes = 16
	}
	if o.OnChange == nil {
		o.OnChange = func(engine.GameID) {}
	}
	if o.OnFleet == nil {
		o.OnFleet = func(engine.Fleet) {}
	}
	return o
}

// Mirror is the picture. Its methods may be called from anywhere.
type Mirror struct {
	options Options
	metrics metrics
	// dirty holds the containers to inspect, each once, and slow those that did
	// not answer in time. They live as long as Run.
	dirty workqueue.TypedRateLimitingInterface[string]
	slow  workqueue.TypedRateLimitingInterface[string]
	// inspecting and refreshing hold a token for each call in flight.
	inspecting chan struct{}
	refreshing chan struct{}
	relist     chan struct{}

	mu        sync.Mutex
	picture   picture
	images    images
	fleet     engine.Fleet
	seen      bool
	listedAt  time.Time
	lastEvent time.Time // by the engine's clock
	// contact is when the engine last answered a question. An engine that shuts
	// down answers none, and goes on for a while to tell of what it ends.
	contact time.Time
	// announced holds the containers with an event that no inspect has followed yet.
	announced map[string]announcement
	// unresponsive holds the containers in quarantine, signals the last one sent
	// to each container.
	unresponsive map[string]bool
	signals      map[string]sent
}

// New returns a mirror that shows nothing until Run.
func New(options Options) *Mirror {
	options = options.withDefaults()
	return &Mirror{
		options: options, metrics: newMetrics(), picture: newPicture(), images: newImages(), announced: map[string]announcement{},
		unresponsive: map[string]bool{}, signals: map[string]sent{}, relist: make(chan struct{}, 1),
		inspecting: make(chan struct{}, options.Inspectors), refreshing: make(chan struct{}, options.Refreshes),
	}
}

// View returns what is known of one game. It is the caller's to keep, but not
// to change.
func (m *Mirror) View(game engine.GameID) engine.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	view := engine.View{Seen: m.seen, At: m.listedAt}
	for _, e := range m.picture.of(game) {
		c := e.container
		c.Unresponsive, c.Signal = m.unresponsive[c.ID], m.signalLocked(&c)
		c.RepoDigest = m.images.digest(c)
		view.Containers = append(view.Containers, c)
		if e.at.After(view.At) {
			view.At = e.at
		}
	}
	return view
}

// Fleet returns what is known of the engine. Its Since is zero until the engine
// was asked once.
func (m *Mirror) Fleet() engine.Fleet {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fleet
}

// ListedAt is when the containers were last listed; zero before the first time.
func (m *Mirror) ListedAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listedAt
}

// Games returns the games that have containers, in no order.
func (m *Mirror) Games() []engine.GameID {
	m.mu.Lock()
	defer m.mu.Unlock()
	games := make([]engine.GameID, 0, len(m.picture.games))
	for game := range m.picture.games {
		games = append(games, game)
	}
	return games
}

// Refresh inspects one container now, so that whoever changed it sees its own
// change in the next View. A container that is gone is no error.
func (m *Mirror) Refresh(ctx context.Context, id string) error {
	if err := take(ctx, m.refreshing); err != nil {
		return &engine.Error{Op: "inspect container " + id, Kind: engine.Timeout, Err: err}
	}
	defer give(m.refreshing)
	timeout := m.options.InspectTimeout
	if m.isUnresponsive(id) {
		timeout = m.options.Patience
	}
	return m.inspect(ctx, id, timeout)
}

// Relist has everything listed now, and not only when it is time. It returns at
// once.
func (m *Mirror) Relist() {
	select {
	case m.relist <- struct{}{}:
	default: // one is due already
	}
}

// take takes one of a bounded number of tokens; give puts it back.
func take(ctx context.Context, tokens chan struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func give(tokens chan struct{}) { <-tokens }
