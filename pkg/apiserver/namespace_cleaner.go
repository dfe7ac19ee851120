package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// contentsRecheck is the pause between two looks at a namespace whose contents
// have finalizers of their own: a game is gone once its container is.
const contentsRecheck = time.Second

// errContentsRemain says that deletion was asked for and is under way.
var errContentsRemain = errors.New("contents remain")

// namespaceCleaner deletes what is in a deleted namespace, of every kind that
// is served, and then lets the namespace go. Every step may be repeated, so
// several servers may run one at once.
type namespaceCleaner struct {
	log        logr.Logger
	namespaces corelisters.NamespaceLister
	queue      workqueue.TypedRateLimitingInterface[string]

	client    kubernetes.Interface
	objects   metadata.Interface
	discovery discovery.DiscoveryInterface
}

func newNamespaceCleaner(config *rest.Config, client kubernetes.Interface, informer coreinformers.NamespaceInformer, log logr.Logger) (*namespaceCleaner, error) {
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("building the namespace cleaner: %w", err)
	}
	c := &namespaceCleaner{
		log:        log,
		namespaces: informer.Lister(),
		queue:      workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
		client:     client,
		objects:    objects,
		discovery:  client.Discovery(),
	}
	_, err = informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    c.enqueueDeleted,
		UpdateFunc: func(_, obj any) { c.enqueueDeleted(obj) },
	})
	if err != nil {
		return nil, fmt.Errorf("watching namespaces: %w", err)
	}
	return c, nil
}

func (c *namespaceCleaner) enqueueDeleted(obj any) {
	if ns, ok := obj.(*corev1.Namespace); ok && ns.DeletionTimestamp != nil {
		c.queue.Add(ns.Name)
	}
}

// run works the queue until ctx ends.
func (c *namespaceCleaner) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, c.queue.ShutDown)
	defer stop()
	for {
		name, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		switch err := c.clean(ctx, name); {
		case err == nil:
			c.queue.Forget(name)
		case errors.Is(err, errContentsRemain):
			c.queue.AddAfter(name, contentsRecheck)
		default:
			c.log.V(1).Info("cleaning a namespace failed, will retry", "namespace", name, "error", err.Error())
			c.queue.AddRateLimited(name)
		}
		c.queue.Done(name)
	}
}

func (c *namespaceCleaner) clean(ctx context.Context, name string) error {
	ns, err := c.namespaces.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the namespace: %w", err)
	}
	if !slices.Contains(ns.Finalizers, contentsFinalizer) {
		return nil // released already
	}
	kinds, err := c.kinds()
	if err != nil {
		return fmt.Errorf("asking which kinds are served: %w", err)
	}
	remain := false
	for _, kind := range kinds {
		left, err := c.empty(ctx, kind, name)
		if err != nil {
			return fmt.Errorf("deleting %s: %w", kind.GroupResource(), err)
		}
		remain = remain || left
	}
	if remain {
		return errContentsRemain
	}
	ns = ns.DeepCopy()
	ns.Finalizers = slices.DeleteFunc(ns.Finalizers, func(f string) bool { return f == contentsFinalizer })
	if _, err := c.client.CoreV1().Namespaces().Update(ctx, ns, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing the namespace: %w", err)
	}
	c.log.Info("deleted namespace", "namespace", name)
	return nil
}

// kinds are all namespaced resources whose collection can be deleted.
func (c *namespaceCleaner) kinds() ([]schema.GroupVersionResource, error) {
	lists, err := c.discovery.ServerPreferredNamespacedResources()
	if err != nil {
		return nil, err
	}
	served, err := discovery.GroupVersionResources(discovery.FilteredBy(
		discovery.SupportsAllVerbs{Verbs: []string{"list", "deletecollection"}}, lists))
	if err != nil {
		return nil, err
	}
	kinds := make([]schema.GroupVersionResource, 0, len(served))
	for kind := range served {
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

// empty deletes all objects of a kind and reports whether some are still there.
func (c *namespaceCleaner) empty(ctx context.Context, kind schema.GroupVersionResource, namespace string) (remain bool, err error) {
	objects := c.objects.Resource(kind).Namespace(namespace)
	if err := objects.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return false, err
	}
	list, err := objects.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return false, err
	}
	return len(list.Items) > 0, nil
}
