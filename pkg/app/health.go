package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/healthz"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/lobby"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/store"
	"galaxy.io/runtime-manager/pkg/streams"
)

// clockTolerance is how far our clock and the database's may be apart: what one
// manager or the database writes down, others read by their own.
const clockTolerance = 5 * time.Second

// parts are those of a running manager that somebody may ask after, from the
// moment on that they are there.
type parts struct {
	pool  atomic.Pointer[pgxpool.Pool]
	store atomic.Pointer[store.Backend]
	api   atomic.Pointer[apiserver.Server]
	loop  atomic.Pointer[controllers.Loop]
	lobby atomic.Pointer[lobby.Client]
	// records reads what is stored, past all caches.
	records atomic.Pointer[client.Reader]
}

var errStarting = errors.New("not there yet: the manager starts")

// dependencies are those that /readyz names, on the API's port beside the server's own.
func (a *App) dependencies() apiserver.Dependencies {
	d := apiserver.Dependencies{
		Needed: []healthz.HealthChecker{
			apiserver.Check("migrations", a.migrated),
			apiserver.Check("watch", func(ctx context.Context) error { return ask(ctx, &a.store, (*store.Backend).Watching) }),
		},
		Used: []healthz.HealthChecker{
			apiserver.Check("engine", a.engineAnswers),
			apiserver.Check("lease", a.somebodyLeads),
			apiserver.Check("clock", a.clocksAgree),
		},
	}
	if a.config.RedisURL != "" {
		d.Used = append(d.Used, apiserver.Check("redis", func(ctx context.Context) error { return streams.Ping(ctx, a.config.RedisURL) }))
	}
	if a.config.LobbyURL != "" {
		d.Used = append(d.Used, apiserver.Check("lobby", func(ctx context.Context) error { return ask(ctx, &a.lobby, (*lobby.Client).Answers) }))
	}
	return d
}

// allDependencies are those named on the metrics port, which is there before any
// of them: the API server's own are among them.
func (a *App) allDependencies(ctx context.Context) apiserver.Dependencies {
	d := a.dependencies()
	if a.config.Kubeconfig != "" {
		d.Needed = append(a.neededOfCluster(), healthz.NewShutdownHealthz(ctx.Done()))
		return d
	}
	d.Needed = append([]healthz.HealthChecker{
		apiserver.Check("postgres", func(ctx context.Context) error { return ask(ctx, &a.store, (*store.Backend).Healthy) }),
		apiserver.Check("crds", func(ctx context.Context) error { return ask(ctx, &a.api, (*apiserver.Server).Serving) }),
		healthz.NewShutdownHealthz(ctx.Done()),
	}, d.Needed...)
	return d
}

// ask asks a part, if it is there.
func ask[P any](ctx context.Context, part *atomic.Pointer[P], how func(*P, context.Context) error) error {
	if p := part.Load(); p != nil {
		return how(p, ctx)
	}
	return errStarting
}

// migrated tells by an error what the tables lack.
func (a *App) migrated(ctx context.Context) error {
	return ask(ctx, &a.pool, func(pool *pgxpool.Pool, ctx context.Context) error { return postgres.CheckMigrated(ctx, pool) })
}

// engineAnswers tells by an error that it does not.
func (a *App) engineAnswers(ctx context.Context) error {
	return ask(ctx, &a.loop, func(loop *controllers.Loop, _ context.Context) error {
		if fleet := loop.Mirror.Fleet(); !fleet.Reachable {
			return fmt.Errorf("not reachable: %s", fleet.Reason)
		}
		return nil
	})
}

// somebodyLeads tells by an error that nobody does, and that games are left alone.
func (a *App) somebodyLeads(ctx context.Context) error {
	return ask(ctx, &a.records, func(records *client.Reader, ctx context.Context) error {
		var lease coordinationv1.Lease
		if err := (*records).Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: leaseName}, &lease); err != nil {
			return fmt.Errorf("reading the lease: %w", err)
		}
		if s := lease.Spec; s.HolderIdentity == nil || *s.HolderIdentity == "" || s.RenewTime == nil || time.Since(s.RenewTime.Time) > leaseDuration {
			return errors.New("nobody holds it")
		}
		return nil
	})
}

// clocksAgree tells by an error that ours or the database's is wrong.
func (a *App) clocksAgree(ctx context.Context) error {
	return ask(ctx, &a.pool, func(pool *pgxpool.Pool, ctx context.Context) error {
		ahead, err := postgres.ClockAhead(ctx, pool)
		if err == nil && ahead.Abs() > clockTolerance {
			err = fmt.Errorf("the database's clock is %s ahead of ours", ahead.Round(time.Second))
		}
		return err
	})
}
