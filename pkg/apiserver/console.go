package apiserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Console is what it takes to reach into games. What is looked at, or run in, is
// the container that runs, or else the newest one.
type Console struct {
	Engine engine.Console
	// View is what is known of one game on the engine.
	View func(engine.GameID) engine.View
}

const (
	// maxLogs bounds those that are read, and maxPrograms those that run: the bounds
	// on requests in flight leave out what lasts. They are apart so that no viewer
	// keeps admins out of a game.
	maxLogs     = 150
	maxPrograms = 50
	// maxMeasurements bounds those at one time; one more waits.
	maxMeasurements = 16
	// measureTimeout bounds one of them, with its wait.
	measureTimeout = 30 * time.Second
)

// errStopping is why a session ends with the server.
var errStopping = apierrors.NewServiceUnavailable("the manager stops")

// console serves the subresources log, exec and stats.
type console struct {
	Console
	client     kubernetes.Interface
	authorizer authorizer.Authorizer
	log        logr.Logger
	// stopping ends when the server begins to stop, and all sessions with it.
	stopping context.Context
	// logs, programs and measurements hold a token for each one.
	logs, programs, measurements chan struct{}
}

func newConsole(o Options, client kubernetes.Interface, authorizer authorizer.Authorizer, stopping context.Context) console {
	return console{
		Console: *o.Console, client: client, authorizer: authorizer, log: o.Log, stopping: stopping,
		logs: make(chan struct{}, maxLogs), programs: make(chan struct{}, maxPrograms), measurements: make(chan struct{}, maxMeasurements),
	}
}

func (c console) subresources() []subresource {
	return []subresource{
		{of: gameRuntimes, name: "log", kind: "GameRuntime", get: c.output},
		{of: gameRuntimes, name: "exec", kind: "GameRuntime", connect: c.exec},
		{of: gameRuntimes, name: "stats", kind: "GameRuntimeStats", get: c.stats},
	}
}

// session begins what lasts until the client leaves, or end is called, or the
// server stops; it is one of those that there may be.
func (c console) session(req *http.Request, those chan struct{}) (ctx context.Context, end context.CancelCauseFunc, err error) {
	select {
	case those <- struct{}{}:
	default:
		return nil, nil, apierrors.NewTooManyRequests("too many logs are read, or programs run, at once", 1)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	forget := context.AfterFunc(c.stopping, func() { cancel(errStopping) })
	context.AfterFunc(ctx, func() {
		forget()
		<-those
	})
	return ctx, cancel, nil
}

// container is a game's that has a record.
func (c console) container(ctx context.Context, game types.NamespacedName) (engine.Container, error) {
	if err := findRecord(ctx, c.client, game); err != nil {
		return engine.Container{}, err
	}
	view := c.View(engine.GameID{Namespace: game.Namespace, Name: game.Name})
	if !view.Seen {
		return engine.Container{}, apierrors.NewServiceUnavailable("the engine was not looked at yet; try again soon")
	}
	if len(view.Containers) == 0 {
		return engine.Container{}, unfit(game, "it has no container")
	}
	current := view.Containers[len(view.Containers)-1]
	for _, other := range view.Containers {
		if other.State == engine.StateRunning {
			current = other
		}
	}
	return current, nil
}

// running is container for what a container must run for.
func (c console) running(ctx context.Context, game types.NamespacedName) (engine.Container, error) {
	current, err := c.container(ctx, game)
	if err == nil && current.State != engine.StateRunning {
		err = unfit(game, notRunning)
	}
	return current, err
}

const notRunning = "it does not run"

// unfit says that a game is not in the state that something takes.
func unfit(game types.NamespacedName, why string) error {
	return apierrors.NewConflict(gameRuntimes.GroupResource(), game.Name, errors.New(why))
}

// explain puts an engine's failure into an answer. What is inside stays inside.
func (c console) explain(err error, game types.NamespacedName) *apierrors.StatusError {
	var explained error
	switch engine.KindOf(err) {
	case engine.NotFound:
		explained = unfit(game, "its container is gone")
	case engine.NotRunning:
		explained = unfit(game, notRunning)
	case engine.Timeout:
		explained = apierrors.NewTimeoutError("the engine did not answer in time", 0)
	case engine.Unreachable:
		explained = apierrors.NewServiceUnavailable("the engine does not answer; try again soon")
	default:
		c.log.Error(err, "the engine refused to reach into a game", "game", game)
		explained = apierrors.NewInternalError(errors.New("the engine refused; the manager's log says why"))
	}
	var status *apierrors.StatusError
	errors.As(explained, &status) // all of these are
	return status
}

// findRecord fails unless a game has a record.
func findRecord(ctx context.Context, client kubernetes.Interface, game types.NamespacedName) error {
	return client.CoreV1().RESTClient().Get().
		AbsPath("/apis", gameRuntimes.Group, gameRuntimes.Version, "namespaces", game.Namespace, gameRuntimes.Resource, game.Name).
		MaxRetries(0).Do(ctx).Error()
}

// parameters reads a query's, and keeps the first complaint.
type parameters struct {
	url.Values
	err error
}

func (p *parameters) refuse(name, detail string) {
	if p.err == nil {
		p.err = badParameter(name, p.Get(name), detail)
	}
}

// has reads a switch; one that is not there is off.
func (p *parameters) has(name string, otherwise bool) bool {
	if !p.Has(name) {
		return otherwise
	}
	on, err := strconv.ParseBool(p.Get(name))
	if err != nil {
		p.refuse(name, "must be true or false")
	}
	return on
}

// number reads one from least to most.
func (p *parameters) number(name string, least, most, otherwise int64) int64 {
	if !p.Has(name) {
		return otherwise
	}
	n, err := strconv.ParseInt(p.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		p.refuse(name, "must be a number from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
	}
	return n
}

// onlyContainer refuses to choose among a game's containers: there is one.
func (p *parameters) onlyContainer() {
	if p.Get("container") != "" {
		p.refuse("container", "a game has one container, which has no name")
	}
}
