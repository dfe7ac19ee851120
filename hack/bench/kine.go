package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	kine "github.com/k3s-io/kine/pkg/app"
	_ "github.com/k3s-io/kine/pkg/drivers/pgsql" // registers postgres://
	"github.com/k3s-io/kine/pkg/endpoint"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
)

// etcd is upstream's storage on kine, which serves etcd's API in this process,
// on a unix socket.
type etcd struct {
	endpoints []string
	healthy   func() error
	stop      context.CancelFunc
	dir       string
}

// openKine starts kine with what its own command line defaults to: as a library
// it leaves poll interval, batch sizes and the like at zero.
func openKine(ctx context.Context, url string, extra []string) (contender, error) {
	logrus.SetLevel(logrus.ErrorLevel)
	dir, err := os.MkdirTemp("", "bench-kine")
	if err != nil {
		return nil, err
	}
	flags := append([]string{"--endpoint", url, "--listen-address", "unix://" + filepath.Join(dir, "kine.sock")}, extra...)
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	served, err := endpoint.Listen(ctx, kine.Config(flags))
	if err != nil {
		stop()
		return nil, fmt.Errorf("starting kine: %w", err)
	}
	e := &etcd{endpoints: served.Endpoints, stop: stop, dir: dir}
	e.healthy, err = factory.CreateHealthCheck(e.config(schema.GroupResource{}, nil).Config, ctx.Done())
	if err != nil {
		stop()
		return nil, fmt.Errorf("connecting to kine: %w", err)
	}
	return e, nil
}

func (e *etcd) config(resource schema.GroupResource, codec runtime.Codec) *storagebackend.ConfigForResource {
	config := storagebackend.NewDefaultConfig("/registry", codec)
	config.Transport.ServerList = e.endpoints
	return config.ForResource(resource)
}

func (e *etcd) Bare() (storage.Interface, error) {
	config := e.config(schema.GroupResource{Group: games.Group, Resource: games.Resource}, unstructured.UnstructuredJSONScheme)
	bare, _, err := factory.Create(*config, newRecord, newRecordList, prefix)
	return bare, err
}

func (e *etcd) Healthy(context.Context) error { return e.healthy() }

// FollowOwners finds nothing: there is no garbage collection on kine.
func (e *etcd) FollowOwners(ctx context.Context, _ func(corev1.ObjectReference)) { <-ctx.Done() }

func (e *etcd) Dependents(context.Context, types.UID) ([]metav1.PartialObjectMetadata, error) {
	return nil, nil
}

func (e *etcd) Shut() {
	e.stop()
	_ = os.RemoveAll(e.dir) // in the system's temporary directory
}

func (e *etcd) RESTOptionsGetter(codecFor func(schema.GroupResource) runtime.Codec) generic.RESTOptionsGetter {
	return etcdOptions{e, codecFor}
}

type etcdOptions struct {
	etcd     *etcd
	codecFor func(schema.GroupResource) runtime.Codec
}

// GetRESTOptions gives what pkg/store gives: upstream's watch cache for all but
// events.
func (o etcdOptions) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	decorator := registry.StorageWithCacher()
	if resource.Resource == "events" {
		decorator = generic.UndecoratedStorage
	}
	config := o.etcd.config(resource, o.codecFor(resource))
	return generic.RESTOptions{
		StorageConfig: config, Decorator: decorator, DeleteCollectionWorkers: 1,
		ResourcePrefix: "/" + resource.String(), CountMetricPollPeriod: config.CountMetricPollPeriod,
	}, nil
}
