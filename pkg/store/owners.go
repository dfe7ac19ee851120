package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// resyncInterval is how often all owners and dependents are looked at again,
// whatever changed.
const resyncInterval = 10 * time.Minute

// ownersUnknown stands in the column ownership for what only data tells.
const ownersUnknown = "unknown"

// Dependents are the objects, of all kinds and in all namespaces, that name an
// owner: their kind and their metadata, as they are now.
func (b *Backend) Dependents(ctx context.Context, owner types.UID) ([]metav1.PartialObjectMetadata, error) {
	found, err := b.related(ctx, "ownership ?| $1", []string{string(owner), ownersUnknown})
	if err != nil {
		return nil, classify("reading the dependents of", string(owner), err)
	}
	return slices.DeleteFunc(found, func(o metav1.PartialObjectMetadata) bool { return !ownedBy(o, owner) }), nil
}

// FollowOwners names to look, until ctx ends, each object that garbage
// collection has to judge: one that lacks an owner, or has one that is deleted,
// or is deleted itself with a finalizer that waits for dependents. It looks at
// all objects first and at what changes then. It may name one too often, or one
// that is gone, and it begins anew rather than miss one.
func (b *Backend) FollowOwners(ctx context.Context, look func(corev1.ObjectReference)) {
	failing := false
	for {
		err := b.followOwners(ctx, func(o corev1.ObjectReference) {
			failing = false
			look(o)
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			continue
		}
		if !failing {
			b.log.Error(err, "following owners and dependents")
		}
		failing = true
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollInterval):
		}
	}
}

// followOwners returns nil when it is time to begin anew.
func (b *Backend) followOwners(ctx context.Context, look func(corev1.ObjectReference)) error {
	resync := time.NewTimer(resyncInterval)
	defer resync.Stop()
	seen, err := b.revision(ctx)
	if err != nil {
		return err
	}
	all, err := b.related(ctx, "ownership IS NOT NULL")
	if err != nil {
		return classify("listing", "owners and dependents", err)
	}
	if err := b.lookAt(ctx, all, look); err != nil {
		return err
	}
	for {
		v, err := b.tail.since(ctx, seen, below("/"))
		if errors.Is(err, errCompacted) {
			return nil
		}
		if err != nil {
			return err
		}
		affected, err := b.affectedBy(ctx, v.changes)
		if err != nil {
			return err
		}
		if err := b.lookAt(ctx, affected, look); err != nil {
			return err
		}
		seen = max(seen, v.upTo)
		select {
		case <-ctx.Done():
			return nil
		case <-resync.C:
			return nil
		case <-v.moved:
		}
	}
}

// affectedBy are the objects that some changes give to judge, as they are now,
// or as they were written.
func (b *Backend) affectedBy(ctx context.Context, changes []change) ([]metav1.PartialObjectMetadata, error) {
	var affected []metav1.PartialObjectMetadata
	deleted := []string{}
	for _, c := range changes {
		if c.data == nil {
			if before, ok := metadataOf(c.previous); ok {
				deleted = append(deleted, string(before.UID))
			}
			continue
		}
		if !mentionsOwnership(c.data) {
			continue
		}
		now, _ := metadataOf(c.data)
		before, _ := metadataOf(c.previous)
		if !sameToCollection(now, before) {
			affected = append(affected, now)
		}
	}
	if len(deleted) == 0 {
		return affected, nil
	}
	dependents, err := b.related(ctx, "ownership ?| $1", append(deleted, ownersUnknown))
	if err != nil {
		return nil, classify("reading the dependents of", "what was deleted", err)
	}
	return append(affected, dependents...), nil
}

// lookAt names those of some objects that are not plainly to be left alone:
// most are, for their owners are there.
func (b *Backend) lookAt(ctx context.Context, objects []metav1.PartialObjectMetadata, look func(corev1.ObjectReference)) error {
	objects = slices.DeleteFunc(objects, func(o metav1.PartialObjectMetadata) bool { return !concernsCollection(o) })
	var uids []string
	for _, o := range objects {
		for _, r := range o.OwnerReferences {
			uids = append(uids, string(r.UID))
		}
	}
	byUID, err := b.byUID(ctx, uids)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if !settled(o, byUID) {
			look(referenceTo(o))
		}
	}
	return nil
}

// byUID reads the metadata of objects. Most changes ask for none.
func (b *Backend) byUID(ctx context.Context, uids []string) (map[types.UID]metav1.PartialObjectMetadata, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	slices.Sort(uids)
	found, err := b.related(ctx, "uid = ANY($1)", slices.Compact(uids))
	if err != nil {
		return nil, classify("reading", "owners", err)
	}
	known := make(map[types.UID]metav1.PartialObjectMetadata, len(found))
	for _, o := range found {
		known[o.UID] = o
	}
	return known, nil
}

// settled says that an object is not deleted, and that no owner of it is.
func settled(o metav1.PartialObjectMetadata, owners map[types.UID]metav1.PartialObjectMetadata) bool {
	if o.DeletionTimestamp != nil {
		return false
	}
	for _, r := range o.OwnerReferences {
		owner, found := owners[r.UID]
		if !found || owner.DeletionTimestamp != nil ||
			owner.APIVersion != r.APIVersion || owner.Kind != r.Kind || owner.Name != r.Name ||
			owner.Namespace != "" && owner.Namespace != o.Namespace {
			return false
		}
	}
	return true
}

// related reads the metadata of the objects that a condition on ownership selects.
func (b *Backend) related(ctx context.Context, where string, args ...any) ([]metav1.PartialObjectMetadata, error) {
	rows, err := b.pool.Query(ctx, "SELECT revision, data FROM objects WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	var found []metav1.PartialObjectMetadata
	var revision int64
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&revision, &data}, func() error {
		if o, ok := metadataOf(data); ok {
			o.ResourceVersion = strconv.FormatInt(revision, 10)
			found = append(found, o)
		}
		return nil
	})
	return found, err
}

// metadataOf reads kind and metadata of a stored object. What is sealed tells
// neither.
func metadataOf(data []byte) (o metav1.PartialObjectMetadata, ok bool) {
	if data == nil || json.Unmarshal(data, &o) != nil {
		return metav1.PartialObjectMetadata{}, false
	}
	o.ManagedFields = nil
	return o, true
}

// mentionsOwnership spares most writes the decoding.
func mentionsOwnership(data []byte) bool {
	return bytes.Contains(data, []byte(`"ownerReferences"`)) ||
		bytes.Contains(data, []byte(`"`+metav1.FinalizerDeleteDependents+`"`)) ||
		bytes.Contains(data, []byte(`"`+metav1.FinalizerOrphanDependents+`"`))
}

func concernsCollection(o metav1.PartialObjectMetadata) bool {
	return len(o.OwnerReferences) > 0 ||
		slices.Contains(o.Finalizers, metav1.FinalizerDeleteDependents) ||
		slices.Contains(o.Finalizers, metav1.FinalizerOrphanDependents)
}

func sameToCollection(a, b metav1.PartialObjectMetadata) bool {
	return a.DeletionTimestamp.Equal(b.DeletionTimestamp) &&
		slices.Equal(a.Finalizers, b.Finalizers) &&
		equality.Semantic.DeepEqual(a.OwnerReferences, b.OwnerReferences)
}

func ownedBy(o metav1.PartialObjectMetadata, owner types.UID) bool {
	return slices.ContainsFunc(o.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == owner })
}

func referenceTo(o metav1.PartialObjectMetadata) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: o.UID}
}
