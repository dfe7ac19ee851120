package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/store"
)

// databaseStopTimeout is what the embedded PostgreSQL may take for its shutdown.
const databaseStopTimeout = 15 * time.Second

// Run starts the parts from the ground up, PostgreSQL, store, API, loop, and
// stops them in the opposite order when ctx ends or a part fails. Containers
// keep running.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() {
		err = errors.Join(err, a.close())
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // we were asked to stop while still starting
		}
	}()
	defer a.closeEngine()
	defer a.serveTelemetry(ctx)()
	spareMemory()
	if a.traces, err = a.openTraces(); err != nil {
		return err
	}
	defer a.traces.Close()

	database, err := a.openDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.close()) }()
	a.pool.Store(database.pool)
	if err := a.clocksAgree(ctx); err != nil {
		a.log.Info("times in records and in history will not fit together: have NTP set the clocks", "reason", err.Error())
	}

	prepare := postgres.CheckMigrated
	if a.config.Migrate {
		prepare = postgres.Migrate
	}
	if err := prepare(ctx, database.pool); err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // what was cut short tells nothing
		}
		return err
	}
	if a.config.Kubeconfig != "" {
		return a.serveCluster(ctx, database)
	}
	backend, err := store.Open(ctx, store.Options{Pool: database.pool, Log: a.log.WithName("store")})
	if err != nil {
		return err
	}
	defer backend.Close()
	a.store.Store(backend)
	if err := controllers.Register(backend.Collectors()); err != nil {
		return err
	}

	audit, err := a.config.Audit.options()
	if err != nil {
		return fmt.Errorf("--audit-policy-file: %w", err)
	}
	server, err := apiserver.New(apiserver.Options{
		Store: backend, Dir: a.config.DataDir, Listener: a.listener, Hosts: a.config.TLSNames, CRDs: config.CRDs, Audit: audit,
		TokenFile: a.config.TokenFile, AuthenticationConfig: a.config.AuthenticationConfig,
		Dependencies: a.dependencies(), History: database.history, Plan: a.plan, Console: a.console(),
		Traces: a.traces, Version: a.config.Version, Log: a.log.WithName("api"),
	})
	if err != nil {
		return err
	}
	a.api.Store(server)
	return a.serve(ctx, server, database)
}

// serve runs the API and, on top of it, the loop. The loop ends first: it
// gives the lead back through the API.
func (a *App) serve(ctx context.Context, server *apiserver.Server, database *database) error {
	apiCtx, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAPI()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(apiCtx) })
	group.Go(func() error { return database.keep(ctx) })
	group.Go(func() error { giveBackMemory(ctx, giveBackInterval); return nil })
	group.Go(func() error {
		defer stopAPI()
		select {
		case <-ctx.Done():
			return nil
		case <-server.Ready():
		}
		a.kubeconfig <- server.Kubeconfig()
		return a.runLoop(ctx, server.ClientConfig(), database)
	})
	return group.Wait()
}

// database is the PostgreSQL in use, and its child process if we run it.
type database struct {
	pool     *pgxpool.Pool
	embedded *postgres.Embedded
}

func (a *App) openDatabase(ctx context.Context) (*database, error) {
	d, url := &database{}, a.config.DatabaseURL
	if url == "" {
		embedded, err := postgres.StartEmbedded(ctx, postgres.EmbeddedOptions{
			Dir: filepath.Join(a.config.DataDir, "postgres"), Log: a.log.WithName("postgres"),
		})
		if err != nil {
			return nil, err
		}
		d.embedded, url = embedded, embedded.URL()
	}
	if d.embedded == nil {
		a.log.Info("connecting to the database")
	}
	var err error
	d.pool, err = postgres.Open(ctx, url)
	if err != nil && d.embedded == nil {
		err = fmt.Errorf("--database-url: %w", err)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// history is what the API tells of a game's past, whoever leads.
func (d *database) history(ctx context.Context, game types.NamespacedName, since time.Time, limit int) ([]v1alpha1.HistoryEntry, error) {
	return journal.History(ctx, d.pool, game, journal.HistoryOptions{Since: since, Limit: limit})
}

// keep returns when ctx ends, or the child process is beyond help.
func (d *database) keep(ctx context.Context) error {
	if d.embedded == nil {
		return nil
	}
	return d.embedded.Keep(ctx)
}

func (d *database) close() error {
	if d.pool != nil {
		d.pool.Close()
	}
	if d.embedded == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), databaseStopTimeout)
	defer cancel()
	return d.embedded.Stop(ctx)
}
