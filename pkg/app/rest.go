package app

import (
	"context"
	"fmt"

	"k8s.io/client-go/dynamic"
	ctrl "sigs.k8s.io/controller-runtime"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/rest"
)

// addREST has the manager run the API for services, also where another one leads.
// Who waits for an outcome sees the records as the loop does, through its cache.
func (a *App) addREST(ctx context.Context, manager ctrl.Manager, database *database) error {
	client, err := dynamic.NewForConfig(manager.GetConfig())
	if err != nil {
		return fmt.Errorf("preparing a client: %w", err)
	}
	records, err := manager.GetCache().GetInformer(ctx, &v1alpha1.GameRuntime{})
	if err != nil {
		return fmt.Errorf("watching the records: %w", err)
	}
	listener, identify, err := a.openServices(a.api.Load())
	if err != nil {
		return fmt.Errorf("preparing the REST API: %w", err)
	}
	server, err := rest.New(rest.Options{
		Listener: listener, Identify: identify, Commander: command.New(client, a.config.GamesNamespace), Namespace: a.config.GamesNamespace,
		Informer: records, Answers: journal.NewAnswers(database.pool), Traces: a.traces, Log: a.log.WithName("rest"),
	})
	if err != nil {
		return err
	}
	if err := controllers.Register(server.Collectors()); err != nil {
		return err
	}
	if err := manager.Add(server); err != nil {
		return fmt.Errorf("adding the REST API: %w", err)
	}
	return nil
}
