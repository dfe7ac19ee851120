package mirror

import (
	"context"
	"sort"
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
	// Inspectors is how many inspects are in flight at most; 8.
	Inspectors int
	// OnChange is told of each game whose view changed, OnFleet of each change
	// of the engine's reachability. They are called without locks and must not
	// block.
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
	// dirty holds the containers to inspect, each once, and no container is
	// inspected by two workers at a time.
	dirty workqueue.TypedRateLimitingInterface[string]

	mu         sync.Mutex
	seen       bool
	fleet      engine.Fleet
	containers map[string]*entry
	games      map[engine.GameID]map[string]*entry
	announced  map[string]bool // containers with an event since their last answer
	lastEvent  time.Time
	asked      uint64 // numbers the questions, so that their answers can be ordered
}

// entry is what is known of one container.
type entry struct {
	container engine.Container
	// asked is the number of the question that this is the answer to.
	asked uint64
}

// New returns a mirror that shows nothing until Run.
func New(options Options) *Mirror {
	retry := workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Second, time.Minute)
	return &Mirror{
		options: options.withDefaults(), metrics: newMetrics(),
		dirty:      workqueue.NewTypedRateLimitingQueue(retry),
		containers: map[string]*entry{}, games: map[engine.GameID]map[string]*entry{}, announced: map[string]bool{},
	}
}

// View returns what is known of one game.
func (m *Mirror) View(game engine.GameID) engine.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	view := engine.View{Seen: m.seen, At: m.options.Clock.Now()}
	for _, e := range m.games[game] {
		view.Containers = append(view.Containers, e.container)
	}
	sort.Slice(view.Containers, func(i, j int) bool {
		a, b := view.Containers[i], view.Containers[j]
		if !a.CreatedAt.Equal(b.CreatedAt) {
			return a.CreatedAt.Before(b.CreatedAt)
		}
		return a.ID < b.ID
	})
	return view
}

// Fleet returns what is known of the engine.
func (m *Mirror) Fleet() engine.Fleet {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fleet
}

// Games returns the games that have containers.
func (m *Mirror) Games() []engine.GameID {
	m.mu.Lock()
	defer m.mu.Unlock()
	games := make([]engine.GameID, 0, len(m.games))
	for game := range m.games {
		games = append(games, game)
	}
	return games
}

// Refresh inspects one container now, so that whoever changed it sees its own
// change in the next View.
func (m *Mirror) Refresh(ctx context.Context, id string) error {
	return m.inspect(ctx, id)
}
