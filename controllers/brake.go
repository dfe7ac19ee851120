package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/plan"
)

const (
	// vanishWindow is how long a container that vanished counts toward the brake.
	vanishWindow = time.Minute
	// While the brake holds, so many lists in a row, so far apart, must agree.
	brakeLists   = 3
	brakeSpacing = 15 * time.Second
	brakePace    = time.Second
)

// brakeOptions are what the brake needs.
type brakeOptions struct {
	records client.Reader
	clock   clock.WithTicker
	log     logr.Logger
	// share and min: it trips when more than both vanish.
	share float64
	min   int
	// spacing is between lists that count as agreeing, pace between two looks at
	// whether the brake may be released.
	spacing, pace time.Duration
	// wake looks at games anew that waited.
	wake func(...engine.GameID)
	// changed tells that it holds, or was released; it may be nil.
	changed func()
}

// brake holds recreation back when many games' containers vanish together: a
// disk that was not mounted or a socket of another engine looks like that, and
// to fill it with new containers would make it worse.
//
// It judges from the records and the picture, at the moment when the fate of a
// vanished container is decided: what one list took away is counted as one, a
// manager that starts finds what vanished while it was down, and nothing is put
// in place of the first before the last is counted.
type brake struct {
	brakeOptions
	mirror  *mirror.Mirror
	frozen  prometheus.Gauge
	tripped chan struct{}

	mu sync.Mutex
	// explained is the container of each game whose absence is no wonder: we
	// removed it, or waited and came to believe it.
	explained map[engine.GameID]string
	// vanished is when each container was found gone, by game.
	vanished map[engine.GameID]time.Time
	// games is how many had a container, by the list that was judged last.
	games  int
	judged time.Time
	// engine is the id of the one we trust, strange that another one answers.
	engine  string
	strange bool
	held    *plan.Brake
	// missing are the vanished by the list of compared; agreed counts the lists
	// in a row that said the same.
	missing  map[engine.GameID]string
	compared time.Time
	agreed   int
}

func newBrake(options brakeOptions) *brake {
	return &brake{
		brakeOptions: options, tripped: make(chan struct{}, 1),
		explained: map[engine.GameID]string{}, vanished: map[engine.GameID]time.Time{},
		frozen: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "runtime_manager", Name: "recreation_frozen", Help: "1 while containers that vanished together are not recreated.",
		}),
	}
}

// +kubebuilder:rbac:groups=runtime.galaxy.io,resources=driftreports,verbs=get;list;watch

// over is the brake as it applies to one game: nil unless its container
// vanished and the brake holds.
func (b *brake) over(ctx context.Context, record *v1alpha1.GameRuntime, view engine.View) *plan.Brake {
	if !record.DeletionTimestamp.IsZero() || !plan.Vanished(record, view) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	game := plan.GameOf(record)
	if b.explained[game] == record.Status.Container.ID {
		return nil
	}
	b.note(game)
	if !b.mirror.Fleet().Reachable {
		return notListed // an event may tell of the first of many that the list will not show
	}
	b.judge(ctx)
	return b.held
}

// asItHolds is over without counting the game: whoever asks what would be done
// trips nothing.
func (b *brake) asItHolds(record *v1alpha1.GameRuntime, view engine.View) *plan.Brake {
	if !record.DeletionTimestamp.IsZero() || !plan.Vanished(record, view) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.explained[plan.GameOf(record)] == record.Status.Container.ID:
		return nil
	case !b.mirror.Fleet().Reachable:
		return notListed
	}
	return b.held
}

// notListed keeps a record from believing what an engine tells that was away and
// was not listed since.
var notListed = &plan.Brake{Message: "the engine was away, and was not listed since"}

// explain says that a container is about to go by our own doing.
func (b *brake) explain(game engine.GameID, container string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.explained[game] = container
}

func (b *brake) forget(game engine.GameID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.explained, game)
}

// engineChanged holds the brake as soon as another engine answers, before what
// that one lists is believed. If nothing is missing there, it is soon released.
func (b *brake) engineChanged(fleet engine.Fleet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch id := fleet.Info.ID; {
	case b.engine == "":
		b.engine = id
	case id == b.engine:
		b.strange = false
	case !b.strange:
		b.strange = true
		b.trip("engine " + fleet.Info.Name + " is not the one that it was, and the games that are not on it may run elsewhere")
	}
}

// note counts a game toward the brake, and forgets who vanished long ago.
func (b *brake) note(game engine.GameID) {
	now := b.clock.Now()
	maps.DeleteFunc(b.vanished, func(_ engine.GameID, at time.Time) bool { return now.Sub(at) > vanishWindow })
	if _, known := b.vanished[game]; !known {
		b.vanished[game] = now
	}
}

// judge trips the brake if too many vanished, at the last list or one by one.
func (b *brake) judge(ctx context.Context) {
	if b.held != nil {
		return
	}
	if listed := b.mirror.ListedAt(); !listed.Equal(b.judged) {
		missing, games, err := b.count(ctx)
		if err != nil {
			return // only a cache that ends fails to list
		}
		for game := range missing {
			b.note(game)
		}
		b.judged, b.games = listed, games
	}
	if n := len(b.vanished); n > b.min && float64(n) > b.share*float64(b.games) {
		b.trip(fmt.Sprintf("%d of %d games or more vanished from engine %s together", n, b.games, b.mirror.Fleet().Info.Name))
	}
}

// count returns the containers that are recorded and not there, by game, and
// how many games have one recorded.
func (b *brake) count(ctx context.Context) (missing map[engine.GameID]string, games int, err error) {
	var all v1alpha1.GameRuntimeList
	if err := b.records.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, 0, err
	}
	there := map[engine.GameID]bool{}
	for _, game := range b.mirror.Games() {
		there[game] = true
	}
	missing = map[engine.GameID]string{}
	for i := range all.Items {
		record := &all.Items[i]
		if !record.DeletionTimestamp.IsZero() || record.Status.Container == nil || record.Status.Container.State == v1alpha1.ContainerRemoved {
			continue
		}
		games++
		game, id := plan.GameOf(record), record.Status.Container.ID
		if !there[game] && b.explained[game] != id {
			missing[game] = id
		}
	}
	return missing, games, nil
}

func (b *brake) trip(why string) {
	since := b.clock.Now().UTC().Truncate(time.Second)
	how := fmt.Sprintf("%d lists %s apart agree", brakeLists, b.spacing)
	if b.strange {
		how = "it is the old one"
	}
	b.held = &plan.Brake{Since: since, Message: fmt.Sprintf(
		"%s: none is made anew until they are back, %s, or a person approves: kubectl annotate driftreports --all --overwrite %s=%s",
		why, how, v1alpha1.AnnotationApproveRecreation, since.Format(time.RFC3339))}
	b.missing, b.agreed, b.compared = nil, 0, b.mirror.ListedAt()
	b.frozen.Set(1)
	b.tellChanged()
	b.log.Info("freezing recreation", "reason", why)
	select {
	case b.tripped <- struct{}{}:
	default:
	}
}

// Start reviews the brake while it holds, until ctx ends.
func (b *brake) Start(ctx context.Context) error {
	ticker := b.clock.NewTicker(b.pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.tripped:
		}
		for b.review(ctx) {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C():
			}
		}
	}
}

// review releases the brake if it is time, and says whether it holds on.
func (b *brake) review(ctx context.Context) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		return false
	}
	approved := b.approved(ctx)
	listed := b.mirror.ListedAt()
	if !approved && listed.Equal(b.compared) {
		b.relist()
		return true
	}
	missing, _, err := b.count(ctx)
	if err != nil {
		return true
	}
	switch {
	case approved:
		b.release(missing, "a person approved")
	case len(missing) == 0:
		b.release(missing, "all are there")
	case b.agrees(missing, listed) && !b.strange:
		b.release(missing, "the lists agree")
	}
	return b.held != nil
}

// relist asks for the next list when it is due.
func (b *brake) relist() {
	if b.agreed == 0 || b.clock.Since(b.compared) >= b.spacing {
		b.mirror.Relist()
	}
}

// agrees counts a list, and says whether enough in a row were the same.
func (b *brake) agrees(missing map[engine.GameID]string, listed time.Time) bool {
	if b.agreed > 0 && listed.Sub(b.compared) < b.spacing && maps.Equal(missing, b.missing) {
		return false // too early to count
	}
	if !maps.Equal(missing, b.missing) {
		b.agreed = 0
	}
	b.missing, b.compared = missing, listed
	b.agreed++
	return b.agreed >= brakeLists
}

// approved says that a person named this very freeze on a report.
func (b *brake) approved(ctx context.Context) bool {
	var reports v1alpha1.DriftReportList
	if err := b.records.List(ctx, &reports); err != nil {
		return false // it is asked again
	}
	since := b.held.Since.Format(time.RFC3339)
	return slices.ContainsFunc(reports.Items, func(r v1alpha1.DriftReport) bool {
		return r.Annotations[v1alpha1.AnnotationApproveRecreation] == since
	})
}

// holding is the freeze; nil if there is none.
func (b *brake) holding() *plan.Brake {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

func (b *brake) tellChanged() {
	if b.changed != nil {
		b.changed()
	}
}

// release believes that what is missing is gone, and wakes who waited.
func (b *brake) release(missing map[engine.GameID]string, why string) {
	maps.Copy(b.explained, missing)
	clear(b.vanished)
	b.held, b.strange, b.engine = nil, false, b.mirror.Fleet().Info.ID
	b.frozen.Set(0)
	b.tellChanged()
	b.log.Info("recreating again", "reason", why, "missing", len(missing))
	b.wake(slices.Collect(maps.Keys(missing))...)
}
