// Package app composes the manager: configuration to parts, and the order in
// which they start and stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/go-logr/logr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/docker"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// App is a manager that can be run once.
type App struct {
	config Config
	log    logr.Logger
	dir    *dataDir
	// listener is where the Kubernetes API is served; nil where a cluster does that.
	listener net.Listener
	// services is where the REST API listens; nil where it is off.
	services net.Listener
	// telemetry is where metrics and health are served; nil where that is off.
	telemetry net.Listener
	engine    engine.Engine
	// traces are open while it runs.
	traces *tracing.Traces

	parts
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
	if err := checkStateRoot(config.StateRoot); err != nil {
		return nil, errors.Join(err, dir.close())
	}
	a := &App{config: config, log: log, dir: dir, engine: engine, kubeconfig: make(chan string, 1)}
	for _, prepare := range []func() error{a.listen, a.prepareTLS} {
		if err := prepare(); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	return a, nil
}

func (a *App) listen() (err error) {
	if a.config.Kubeconfig == "" {
		if a.listener, err = listenOn("--api-address", a.config.APIAddress); err != nil {
			return err
		}
	}
	if a.services, err = listenOn("--rest-address", a.config.RESTAddress); err != nil {
		return err
	}
	a.telemetry, err = listenOn("--metrics-address", a.config.MetricsAddress)
	return err
}

// listenOn returns nil for the address 0, where that is one.
func listenOn(flag, address string) (net.Listener, error) {
	if address == "0" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w: ss -ltnp tells by whom, and the flag takes another one", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return listener, nil
}

// close lets go of what New took.
func (a *App) close() error {
	for _, listener := range []net.Listener{a.listener, a.services, a.telemetry} {
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

// Kubeconfig yields the path of the administrator's kubeconfig once the API serves;
// that of the cluster, where its API is used.
func (a *App) Kubeconfig() <-chan string { return a.kubeconfig }

// plan is behind the subresource plan, on every replica.
func (a *App) plan(ctx context.Context, record *v1alpha1.GameRuntime) (v1alpha1.GameRuntimePlan, error) {
	loop := a.loop.Load()
	if loop == nil {
		return v1alpha1.GameRuntimePlan{}, errStarting
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
