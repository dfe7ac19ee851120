package app

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver"
)

// inCluster stands for the cluster whose pod the manager runs in.
const inCluster = "in-cluster"

func (c *Config) clusterFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "kubeconfig of a Kubernetes cluster whose API holds the records, or in-cluster for the one that the manager is a pod of; the manager serves an API itself if empty")
}

// checkCluster says whether a cluster's API is named that cannot be asked.
func (c Config) checkCluster() error {
	if c.Kubeconfig == "" {
		return nil
	}
	_, err := c.cluster()
	return err
}

// cluster reaches the cluster's API. How often it may be asked is the cluster's to say.
func (c Config) cluster() (api *rest.Config, err error) {
	if c.Kubeconfig == inCluster {
		api, err = rest.InClusterConfig()
	} else {
		api, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	api.QPS = -1
	return api, nil
}

// serveCluster runs the loop on a cluster's API. Of the database it needs the
// journal, and what services are told and answered.
func (a *App) serveCluster(ctx context.Context, database *database) error {
	api, err := a.config.cluster()
	if err != nil {
		return err
	}
	if err := knowsRecords(api); err != nil {
		return err
	}
	a.log.Info("using the API of a cluster", "address", api.Host)
	a.kubeconfig <- a.config.Kubeconfig
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return database.keep(ctx) })
	group.Go(func() error { giveBackMemory(ctx, giveBackInterval); return nil })
	group.Go(func() error { return a.runLoop(ctx, api, database) })
	return group.Wait()
}

// neededOfCluster are the dependencies without which services are not answered,
// where the records are a cluster's.
func (a *App) neededOfCluster() []healthz.HealthChecker {
	return []healthz.HealthChecker{
		apiserver.Check("postgres", func(ctx context.Context) error { return ask(ctx, &a.pool, (*pgxpool.Pool).Ping) }),
		apiserver.Check("migrations", a.migrated),
		apiserver.Check("cluster", func(ctx context.Context) error {
			return ask(ctx, &a.records, func(records *client.Reader, ctx context.Context) error {
				return (*records).Get(ctx, client.ObjectKey{Name: metav1.NamespaceDefault}, &corev1.Namespace{})
			})
		}),
	}
}

// knowsRecords fails if somebody has to install the definitions first: a manager
// in a cluster has no right to.
func knowsRecords(api *rest.Config) error {
	client, err := discovery.NewDiscoveryClientForConfig(api)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	known, err := client.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("--kubeconfig: asking %s what it serves: %w", api.Host, err)
	}
	missing := map[string]bool{"gameruntimes": true, "gameruntimes/status": true, "driftreports": true, "driftreports/status": true}
	if err == nil {
		for _, resource := range known.APIResources {
			delete(missing, resource.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("--kubeconfig: %s does not know %s: install the definitions with 'kubectl apply --server-side -k config/crd'",
			api.Host, v1alpha1.GroupVersion)
	}
	return nil
}
