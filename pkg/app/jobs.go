package app

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/lobby"
	"galaxy.io/runtime-manager/pkg/streams"
)

// addIntake has this process take jobs from the streams, whoever leads, if there is
// a Redis. What it returns closes the connections.
func (a *App) addIntake(ctx context.Context, manager ctrl.Manager, database *database, games *lobby.Client) (closeAll func(), err error) {
	if a.config.RedisURL == "" {
		return func() {}, nil
	}
	records, err := dynamic.NewForConfig(manager.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("preparing a client: %w", err)
	}
	redis, err := streams.Open(a.config.RedisURL)
	if err != nil {
		return nil, fmt.Errorf("--redis-url: %w", err)
	}
	closeAll = func() { _ = redis.Close() } // idle connections
	options := streams.IntakeOptions{
		Redis: redis, Jobs: journal.Jobs{Pool: database.pool}, Commands: command.New(records, a.config.GamesNamespace),
		Records: cachedRecords{manager.GetCache(), manager.GetAPIReader(), a.config.GamesNamespace}, Namespace: a.config.GamesNamespace,
		Manager: a.dir.identity, Remember: a.config.HistoryRetention, Traces: a.traces, Log: a.log.WithName("jobs"),
	}
	if games != nil {
		options.Image = imageFrom(games)
	}
	intake := streams.NewIntake(options)
	if err := a.followRecords(ctx, manager, intake); err != nil {
		return nil, err
	}
	if err := controllers.Register(intake.Collectors()); err != nil {
		return nil, err
	}
	if err := manager.Add(intake); err != nil {
		return nil, fmt.Errorf("adding the intake of jobs: %w", err)
	}
	return closeAll, nil
}

// followRecords has an intake hear of every change of a record.
func (a *App) followRecords(ctx context.Context, manager ctrl.Manager, intake *streams.Intake) error {
	informer, err := manager.GetCache().GetInformer(ctx, &v1alpha1.GameRuntime{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching the records: %w", err)
	}
	changed := func(object any) {
		if last, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = last.Obj
		}
		if record, ok := object.(*v1alpha1.GameRuntime); ok && record.Namespace == a.config.GamesNamespace {
			intake.Changed(record.Name)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, now any) { changed(now) }, DeleteFunc: changed,
	})
	if err != nil {
		return fmt.Errorf("watching the records: %w", err)
	}
	return nil
}

// cachedRecords are those of one namespace, as the loop's cache has them and as they
// are stored.
type cachedRecords struct {
	seen, stored client.Reader
	namespace    string
}

// Seen implements streams.Records.
func (r cachedRecords) Seen(game string) *v1alpha1.GameRuntime {
	record, err := r.get(context.Background(), r.seen, game) // from memory
	if err != nil {
		return nil // the cache is not filled yet
	}
	return record
}

// Stored implements streams.Records.
func (r cachedRecords) Stored(ctx context.Context, game string) (*v1alpha1.GameRuntime, error) {
	return r.get(ctx, r.stored, game)
}

func (r cachedRecords) get(ctx context.Context, from client.Reader, game string) (*v1alpha1.GameRuntime, error) {
	var record v1alpha1.GameRuntime
	err := from.Get(ctx, types.NamespacedName{Namespace: r.namespace, Name: game}, &record)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return &record, err
}
