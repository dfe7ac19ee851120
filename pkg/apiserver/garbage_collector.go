package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
)

const (
	// collectorWorkers is how many objects are judged at once.
	collectorWorkers = 4
	// dependentsRecheck is the pause between two looks at an object that waits
	// for its dependents, and dependentRecheck what each of them adds to it.
	dependentsRecheck = 200 * time.Millisecond
	dependentRecheck  = time.Millisecond
	// collectorTries is how often an object is tried before it is left to the
	// next resync: the pauses double, from milliseconds to minutes.
	collectorTries = 16
)

// garbageCollector does what metadata.ownerReferences promise: it deletes
// objects whose owners are gone, and finishes deletions in the foreground and
// those that orphan.
//
// The store knows who owns whom. What it names is judged by what the API says
// at that moment, and every write carries uid and revision of what was judged.
// So every step may be repeated, and several servers may run one at once.
type garbageCollector struct {
	log     logr.Logger
	store   Store
	queue   workqueue.TypedRateLimitingInterface[corev1.ObjectReference]
	objects metadata.Interface
	kinds   discovery.ServerResourcesInterfaceWithContext
	served  sync.Map // where a schema.GroupVersionKind was found: a metav1.APIResource
}

func newGarbageCollector(config *rest.Config, kinds discovery.ServerResourcesInterface, store Store, log logr.Logger) (*garbageCollector, error) {
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("building the garbage collector: %w", err)
	}
	return &garbageCollector{
		log:     log,
		store:   store,
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[corev1.ObjectReference]()),
		objects: objects,
		kinds:   discovery.ToServerResourcesInterfaceWithContext(kinds),
	}, nil
}

// run follows the store and works the queue until ctx ends.
func (c *garbageCollector) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, c.queue.ShutDown)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { c.store.FollowOwners(ctx, c.queue.Add) })
	for range collectorWorkers {
		running.Go(func() { c.work(ctx) })
	}
	running.Wait()
}

func (c *garbageCollector) work(ctx context.Context) {
	for {
		ref, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		again, err := c.collect(ctx, ref)
		switch {
		case err != nil && c.queue.NumRequeues(ref) < collectorTries:
			c.log.V(1).Info("collecting garbage failed, will retry", "kind", ref.Kind, "namespace", ref.Namespace, "name", ref.Name, "error", err.Error())
			c.queue.AddRateLimited(ref)
		case err != nil:
			c.log.Error(err, "collecting garbage failed, leaving it to the next resync", "kind", ref.Kind, "namespace", ref.Namespace, "name", ref.Name)
			c.queue.Forget(ref)
		case again > 0:
			c.queue.Forget(ref)
			c.queue.AddAfter(ref, again)
		default:
			c.queue.Forget(ref)
		}
		c.queue.Done(ref)
	}
}

// collect does the next step that an object needs, and says when to look at it
// again; 0 is when the store names it.
func (c *garbageCollector) collect(ctx context.Context, ref corev1.ObjectReference) (again time.Duration, err error) {
	o, err := c.find(ctx, ref)
	switch {
	case err != nil || o == nil:
		return 0, err
	case o.DeletionTimestamp == nil:
		return 0, c.judge(ctx, o)
	case slices.Contains(o.Finalizers, metav1.FinalizerOrphanDependents):
		return 0, c.orphan(ctx, o)
	case slices.Contains(o.Finalizers, metav1.FinalizerDeleteDependents):
		return c.awaitDependents(ctx, o)
	}
	return 0, nil // it waits for finalizers that are not ours
}

// judge deletes an object without an owner that stays, and takes owners that are
// gone, or wait for it to go, from one that has another.
func (c *garbageCollector) judge(ctx context.Context, o *object) error {
	var staying []metav1.OwnerReference
	awaited := false
	for _, r := range o.OwnerReferences {
		owner, err := c.owner(ctx, o, r)
		switch {
		case errors.Is(err, errUnreachableOwner):
			staying = append(staying, r)
		case err != nil:
			return err
		case owner == nil:
		case owner.awaitsDependents():
			awaited = true
		default:
			staying = append(staying, r)
		}
	}
	switch len(staying) {
	case len(o.OwnerReferences):
		return nil
	case 0:
		return c.delete(ctx, o, awaited)
	}
	return o.patch(ctx, map[string]any{"ownerReferences": staying})
}

// delete deletes an object whose owners are gone. If one of them is still there,
// and waits, dependents of the object itself must go first.
func (c *garbageCollector) delete(ctx context.Context, o *object, awaited bool) error {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion}}
	if awaited {
		dependents, err := c.store.Dependents(ctx, o.UID)
		if err != nil {
			return err
		}
		if len(dependents) > 0 {
			foreground := metav1.DeletePropagationForeground
			options.PropagationPolicy = &foreground
		}
	}
	err := o.client.Delete(ctx, o.Name, options)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting it: %w", err)
	}
	c.log.Info("deleted an object whose owners are gone", "kind", o.ref.Kind, "namespace", o.Namespace, "name", o.Name)
	return nil
}

// orphan takes a deleted object from the owners of its dependents, and lets it go.
func (c *garbageCollector) orphan(ctx context.Context, o *object) error {
	dependents, err := c.store.Dependents(ctx, o.UID)
	if err != nil {
		return err
	}
	for i := range dependents {
		d, err := c.at(ctx, &dependents[i])
		if err != nil {
			return err
		}
		others := slices.DeleteFunc(d.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == o.UID })
		if err := d.patch(ctx, map[string]any{"ownerReferences": others}); err != nil {
			return err
		}
	}
	return o.removeFinalizer(ctx, metav1.FinalizerOrphanDependents)
}

// awaitDependents has the dependents of a deleted object judged, and lets it go
// once none is left that blocks it.
func (c *garbageCollector) awaitDependents(ctx context.Context, o *object) (again time.Duration, err error) {
	dependents, err := c.store.Dependents(ctx, o.UID)
	if err != nil {
		return 0, err
	}
	blocked := false
	for i := range dependents {
		d := &dependents[i]
		if d.DeletionTimestamp == nil {
			c.queue.Add(referenceTo(d))
		}
		blocked = blocked || slices.ContainsFunc(d.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == o.UID && blocks(r) })
	}
	if !blocked {
		return 0, o.removeFinalizer(ctx, metav1.FinalizerDeleteDependents)
	}
	if err := c.breakCycle(ctx, o); err != nil {
		return 0, err
	}
	return dependentsRecheck + time.Duration(len(dependents))*dependentRecheck, nil
}

// breakCycle lets an object block its owners no longer, if they all wait for
// each other, so that one of them can begin.
func (c *garbageCollector) breakCycle(ctx context.Context, o *object) error {
	seen := map[types.UID]bool{}
	for waiting := []*object{o}; len(waiting) > 0; waiting = waiting[1:] {
		for _, r := range waiting[0].OwnerReferences {
			if r.UID == o.UID && blocks(r) {
				c.log.Info("breaking a cycle of owners", "kind", o.ref.Kind, "namespace", o.Namespace, "name", o.Name)
				return o.unblockOwners(ctx)
			}
			if seen[r.UID] || !blocks(r) {
				continue
			}
			seen[r.UID] = true
			owner, err := c.owner(ctx, waiting[0], r)
			if err != nil && !errors.Is(err, errUnreachableOwner) {
				return err
			}
			if owner != nil && owner.awaitsDependents() {
				waiting = append(waiting, owner)
			}
		}
	}
	return nil
}

// owner finds what a reference names, nil if that is gone. Owners are in the
// dependent's namespace or in none.
func (c *garbageCollector) owner(ctx context.Context, o *object, r metav1.OwnerReference) (*object, error) {
	return c.find(ctx, corev1.ObjectReference{APIVersion: r.APIVersion, Kind: r.Kind, Namespace: o.Namespace, Name: r.Name, UID: r.UID})
}
