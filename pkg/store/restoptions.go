package store

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
)

// countInterval is how often the number of objects is measured for metrics.
const countInterval = time.Minute

// restOptions is the seam through which upstream's registry gets its storage.
type restOptions struct {
	backend  *Backend
	codecFor func(schema.GroupResource) runtime.Codec
}

// RESTOptionsGetter gives each resource a storage in this backend, encoded by
// the codec that codecFor names.
func (b *Backend) RESTOptionsGetter(codecFor func(schema.GroupResource) runtime.Codec) generic.RESTOptionsGetter {
	return restOptions{b, codecFor}
}

// GetRESTOptions makes a new configuration each time: the handler of custom
// resources writes its own codec into it.
func (o restOptions) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	prefix := "/" + resource.String()
	config := storagebackend.NewDefaultConfig("", o.codecFor(resource))
	return generic.RESTOptions{
		StorageConfig:           config.ForResource(resource),
		Decorator:               o.backend.decorate,
		EnableGarbageCollection: true,
		DeleteCollectionWorkers: 1,
		ResourcePrefix:          prefix,
		CountMetricPollPeriod:   countInterval,
	}, nil
}

// decorate builds the storage of one resource, with upstream's watch cache on
// top. Events are many, written once and seldom read: they have none.
func (b *Backend) decorate(
	config *storagebackend.ConfigForResource, prefix string,
	keyFunc func(runtime.Object) (string, error), newFunc, newListFunc func() runtime.Object,
	attributes storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers,
) (storage.Interface, factory.DestroyFunc, error) {
	raw := b.Store(ResourceOptions{
		Prefix: prefix, Resource: config.GroupResource, Codec: config.Codec, NewFunc: newFunc, Transformer: config.Transformer,
	})
	if unsafeDeletion() {
		raw.decoder, raw.transformer = markingDecoder{raw.decoder}, markingTransformer{raw.transformer}
	}
	if config.GroupResource.Resource == "events" {
		return raw, func() {}, nil
	}
	cached, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage: raw, Versioner: raw.versioner, GroupResource: config.GroupResource, EventsHistoryWindow: config.EventsHistoryWindow,
		ResourcePrefix: prefix, KeyFunc: keyFunc, NewFunc: newFunc, NewListFunc: newListFunc,
		GetAttrsFunc: attributes, IndexerFuncs: triggers, Indexers: indexers, Codec: config.Codec,
	})
	if err != nil {
		return nil, func() {}, err
	}
	delegator := cacher.NewCacheDelegator(cached, raw)
	var once sync.Once
	return backlogged{delegator}, func() {
		once.Do(func() {
			delegator.Stop()
			cached.Stop()
		})
	}, nil
}

// progressRequests tells upstream's watch cache that a storage answers progress
// requests. Only etcd's client can tell it otherwise, by asking a server.
type progressRequests struct{ feature.FeatureSupportChecker }

func (progressRequests) Supports(f storage.Feature) bool { return f == storage.RequestWatchProgress }

var supportProgressRequests = sync.OnceFunc(func() {
	feature.DefaultFeatureSupportChecker = progressRequests{feature.DefaultFeatureSupportChecker}
})
