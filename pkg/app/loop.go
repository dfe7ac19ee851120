package app

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/plan"
)

// loopStopTimeout is what the actions in hand may take once we are asked to stop.
const loopStopTimeout = 30 * time.Second

// runLoop runs the controllers against an API until ctx ends.
func (a *App) runLoop(ctx context.Context, api *rest.Config, database *database) error {
	settings, err := a.settings(ctx, api)
	if err != nil {
		return err
	}
	ctx, lose := context.WithCancel(ctx)
	defer lose()
	lead, err := newLead(api, a.dir.identity, lose)
	if err != nil {
		return err
	}
	if a.traces != nil {
		api.Wrap(a.traces.Transport)
	}
	manager, err := a.newManager(api, lead)
	if err != nil {
		return err
	}
	records := manager.GetAPIReader()
	a.records.Store(&records)
	flush, err := a.addRelay(manager, database)
	if err != nil {
		return err
	}
	defer flush() // once nobody writes what is to be told any more
	operations := journal.New(journal.InPostgres(database.pool), a.log.WithName("journal"))
	defer operations.Close() // once no action is in hand any more
	games, err := a.openLobby()
	if err != nil {
		return err
	}
	if games != nil {
		defer games.Close()
	}
	loop, err := controllers.Setup(manager, controllers.Options{
		Engine: a.traces.Engine(a.engine), Traces: a.traces, Journal: operations, Settings: settings, Concurrency: a.config.Concurrency, Log: a.log,
		Resync: a.config.Resync, MassVanishShare: a.config.MassVanishShare, MassVanishMin: a.config.MassVanishMin,
		Orphans: plan.OrphanPolicy(a.config.Orphans), OrphanGrace: a.config.OrphanGrace, Vouch: a.vouch(games), Leads: lead.held,
	})
	if err != nil {
		return err
	}
	if err := manager.Add(a.retention(database, manager.GetClient())); err != nil {
		return fmt.Errorf("adding the retention of history: %w", err)
	}
	if a.services != nil {
		if err := a.addREST(ctx, manager, database); err != nil {
			return err
		}
	}
	closeIntake, err := a.addIntake(ctx, manager, database, games)
	if err != nil {
		return err
	}
	defer closeIntake()
	a.loop.Store(loop)
	if err := manager.Start(ctx); err != nil {
		return fmt.Errorf("running the controllers: %w", err)
	}
	return lead.why()
}

func (a *App) newManager(api *rest.Config, lead *lead) (ctrl.Manager, error) {
	stopTimeout := loopStopTimeout
	manager, err := ctrl.NewManager(api, ctrl.Options{
		Scheme:  newScheme(),
		Logger:  libraryLog(a.log),
		Metrics: metricsserver.Options{BindAddress: "0"}, // telemetry.go serves them
		Cache:   cache.Options{DefaultTransform: forgetFields},

		LeaderElection:                      true,
		LeaderElectionResourceLockInterface: lead,
		LeaderElectionReleaseOnCancel:       true,
		LeaseDuration:                       ptr.To(leaseDuration),
		RenewDeadline:                       ptr.To(renewDeadline),
		RetryPeriod:                         ptr.To(lookPeriod),
		GracefulShutdownTimeout:             &stopTimeout,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the controllers: %w", err)
	}
	return manager, nil
}

// forgetFields strips what is cached of who manages which field. That is half of a
// record, and all that the loop asks is who wrote the spec last.
func forgetFields(object any) (any, error) {
	if record, ok := object.(*v1alpha1.GameRuntime); ok {
		record.ForgetFields()
		return record, nil
	}
	return cache.TransformStripManagedFields()(object)
}

// retention runs where this process leads.
func (a *App) retention(database *database, records client.Reader) journal.Retention {
	r := journal.Retention{
		Pool: database.pool, Keep: a.config.HistoryRetention, Log: a.log.WithName("journal"),
		Gone: func(ctx context.Context, game types.NamespacedName) bool {
			return apierrors.IsNotFound(records.Get(ctx, game, &v1alpha1.GameRuntime{}))
		},
	}
	if a.config.RedisURL != "" {
		r.Relayed = relayed
	}
	return r
}

// settings reads who we are. The namespace default is always there and its uid
// never changes: it names the installation, as kube-system's names a cluster.
func (a *App) settings(ctx context.Context, api *rest.Config) (plan.Settings, error) {
	direct, err := client.New(api, client.Options{Scheme: newScheme()})
	if err != nil {
		return plan.Settings{}, fmt.Errorf("preparing a client: %w", err)
	}
	var home corev1.Namespace
	if err := direct.Get(ctx, client.ObjectKey{Name: metav1.NamespaceDefault}, &home); err != nil {
		return plan.Settings{}, fmt.Errorf("reading the installation's id: %w", err)
	}
	installation := string(home.UID)
	return plan.Settings{
		Installation: installation,
		Network:      plan.NetworkName(installation),
		StateRoot:    a.config.StateRoot,
		User:         gameUser(),
		DriftPolicy:  v1alpha1.DriftPolicy(a.config.DriftPolicy),
	}, nil
}

// gameUser runs games as the manager's own user, unless that is root: nobody
// else could give them a state directory that they may write.
func gameUser() string {
	if os.Getuid() == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // the types are ours and upstream's: a programming error
		}
	}
	return scheme
}
