// Package app composes the manager: configuration to parts, and the order in
// which they start and stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/go-logr/logr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/docker"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/postgres"
)

// App is a manager that can be run once.
type App struct {
	config   Config
	log      logr.Logger
	dir      *dataDir
	listener net.Listener
	// services is where the REST API listens; nil where it is off.
	services net.Listener
	engine   engine.Engine

	mirror     atomic.Pointer[mirror.Mirror]
	loop       atomic.Pointer[controllers.Loop]
	kubeconfig chan string
}

// New checks the configuration and takes what must be ours alone: the data
// directory and the addresses.
func New(config Config, log logr.Logger) (*App, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	client, err := docker.New(docker.Options{Host: config.DockerHost, RegistryConfig: config.RegistryConfig})
	if err != nil {
		return nil, fmt.Errorf("--docker-host: %w", err)
	}
	return newApp(config, log, client)
}

// newApp is New on any engine, with a configuration that is complete.
func newApp(config Config, log logr.Logger, engine engine.Engine) (*App, error) {
	dir, err := openDataDir(config.DataDir)
	if err != nil {
		return nil, err
	}
	a := &App{config: config, log: log, dir: dir, engine: engine, kubeconfig: make(chan string, 1)}
	if err := a.listen(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *App) listen() (err error) {
	if a.listener, err = net.Listen("tcp", a.config.APIAddress); err != nil {
		return fmt.Errorf("--api-address: %w", err)
	}
	if a.config.RESTAddress == "0" {
		return nil
	}
	if a.services, err = net.Listen("tcp", a.config.RESTAddress); err != nil {
		return fmt.Errorf("--rest-address: %w", err)
	}
	return nil
}

// close lets go of what New took.
func (a *App) close() error {
	for _, listener := range []net.Listener{a.listener, a.services} {
		if listener != nil {
			_ = listener.Close() // its server closed it, unless it never ran
		}
	}
	return a.dir.close()
}

// closeEngine lets go of what the engine's client holds.
func (a *App) closeEngine() {
	if c, ok := a.engine.(io.Closer); ok {
		_ = c.Close() // idle connections
	}
}

// Kubeconfig yields the path of the administrator's kubeconfig once the API serves.
func (a *App) Kubeconfig() <-chan string { return a.kubeconfig }

// engineAnswers is the engine's part of /readyz.
func (a *App) engineAnswers(context.Context) error {
	picture := a.mirror.Load()
	if picture == nil {
		return errors.New("not asked yet")
	}
	if fleet := picture.Fleet(); !fleet.Reachable {
		return fmt.Errorf("not reachable: %s", fleet.Reason)
	}
	return nil
}

// plan is behind the subresource plan, on every replica.
func (a *App) plan(ctx context.Context, record *v1alpha1.GameRuntime) (v1alpha1.GameRuntimePlan, error) {
	loop := a.loop.Load()
	if loop == nil {
		return v1alpha1.GameRuntimePlan{}, errors.New("the loop is not built yet")
	}
	return loop.Foresee(ctx, record), nil
}

// Migrate brings the tables of a database up to date.
func Migrate(ctx context.Context, url string) error {
	if url == "" {
		return errors.New("--database-url must name a database; the embedded one is migrated by serve")
	}
	pool, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	return postgres.Migrate(ctx, pool)
}
