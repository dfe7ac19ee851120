package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
)

// object is one object as the garbage collector sees it, of whatever kind.
type object struct {
	*metav1.PartialObjectMetadata
	ref    corev1.ObjectReference
	client metadata.ResourceInterface
}

var (
	// errNotServed is a kind that may be served again, with all its objects.
	errNotServed = errors.New("its kind is not served")
	// errUnreachableOwner is an owner of which nobody can say whether it is there.
	errUnreachableOwner = errors.New("an object without a namespace cannot have an owner in one")
)

// find asks the API for an object. It is nil if there is none of that name, or
// another one.
func (c *garbageCollector) find(ctx context.Context, ref corev1.ObjectReference) (*object, error) {
	client, err := c.clientFor(ctx, ref)
	if err != nil {
		return nil, err
	}
	found, err := client.Get(ctx, ref.Name, metav1.GetOptions{})
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		if apierrors.IsNotFound(err) {
			c.served.Delete(ref.GroupVersionKind())
		}
		return nil, fmt.Errorf("reading %s %s: %w", ref.Kind, ref.Name, err)
	}
	if found.UID != ref.UID {
		return nil, nil
	}
	return &object{PartialObjectMetadata: found, ref: ref, client: client}, nil
}

// at is an object as the store has it.
func (c *garbageCollector) at(ctx context.Context, stored *metav1.PartialObjectMetadata) (*object, error) {
	ref := referenceTo(stored)
	client, err := c.clientFor(ctx, ref)
	return &object{PartialObjectMetadata: stored, ref: ref, client: client}, err
}

// clientFor reaches the objects of a kind.
func (c *garbageCollector) clientFor(ctx context.Context, ref corev1.ObjectReference) (metadata.ResourceInterface, error) {
	r, err := c.resource(ctx, ref.GroupVersionKind())
	if err != nil {
		return nil, fmt.Errorf("looking for %s in %s: %w", ref.Kind, ref.APIVersion, err)
	}
	objects := c.objects.Resource(ref.GroupVersionKind().GroupVersion().WithResource(r.Name))
	switch {
	case !r.Namespaced:
		return objects, nil
	case ref.Namespace == "":
		return nil, errUnreachableOwner
	}
	return objects.Namespace(ref.Namespace), nil
}

// resource finds where a kind is served. What it remembers is corrected by the
// first request that finds nobody there.
func (c *garbageCollector) resource(ctx context.Context, kind schema.GroupVersionKind) (metav1.APIResource, error) {
	if r, ok := c.served.Load(kind); ok {
		return r.(metav1.APIResource), nil
	}
	list, err := c.kinds.ServerResourcesForGroupVersionWithContext(ctx, kind.GroupVersion().String())
	if err != nil && !apierrors.IsNotFound(err) {
		return metav1.APIResource{}, err
	}
	if err == nil {
		for _, r := range list.APIResources {
			if r.Kind == kind.Kind && !strings.Contains(r.Name, "/") {
				c.served.Store(kind, r)
				return r, nil
			}
		}
	}
	return metav1.APIResource{}, errNotServed
}

// patch changes the metadata, if they are still what they were.
func (o *object) patch(ctx context.Context, fields map[string]any) error {
	fields["uid"], fields["resourceVersion"] = o.UID, o.ResourceVersion
	body, err := json.Marshal(map[string]any{"metadata": fields})
	if err != nil {
		return fmt.Errorf("patching %s %s: %w", o.ref.Kind, o.Name, err)
	}
	_, err = o.client.Patch(ctx, o.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !isGone(err) {
		return fmt.Errorf("patching %s %s: %w", o.ref.Kind, o.Name, err)
	}
	return nil
}

func (o *object) removeFinalizer(ctx context.Context, name string) error {
	others := slices.DeleteFunc(slices.Clone(o.Finalizers), func(f string) bool { return f == name })
	return o.patch(ctx, map[string]any{"finalizers": others})
}

// unblockOwners lets the owners go before the object.
func (o *object) unblockOwners(ctx context.Context) error {
	owners := slices.Clone(o.OwnerReferences)
	for i := range owners {
		owners[i].BlockOwnerDeletion = nil
	}
	return o.patch(ctx, map[string]any{"ownerReferences": owners})
}

// awaitsDependents says that the object is deleted in the foreground.
func (o *object) awaitsDependents() bool {
	return o.DeletionTimestamp != nil && slices.Contains(o.Finalizers, metav1.FinalizerDeleteDependents)
}

// isGone says that there is no such object; that there is no such path would
// tell nothing about it.
func isGone(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func blocks(r metav1.OwnerReference) bool {
	return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion
}

func referenceTo(o *metav1.PartialObjectMetadata) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: o.UID}
}
