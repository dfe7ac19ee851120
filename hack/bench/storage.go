package main

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	apistorage "k8s.io/apiserver/pkg/storage"
)

// storageTarget is the storage interface itself. Updates and deletions are given
// the current object as a suggestion, as the API server does from its watch cache.
type storageTarget struct{ storage apistorage.Interface }

func key(name string) string { return prefix + "/" + namespace + "/" + name }

func (t storageTarget) Create(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	u.SetCreationTimestamp(metav1.Now())
	out := &unstructured.Unstructured{}
	return out, t.storage.Create(ctx, key(u.GetName()), u, out, 0)
}

func (t storageTarget) Update(ctx context.Context, current *unstructured.Unstructured, status map[string]any) (*unstructured.Unstructured, error) {
	out := &unstructured.Unstructured{}
	change := func(in runtime.Object, _ apistorage.ResponseMeta) (runtime.Object, *uint64, error) {
		changed := *in.(*unstructured.Unstructured)
		changed.Object = runtime.DeepCopyJSON(changed.Object)
		changed.Object["status"] = status
		return &changed, nil, nil
	}
	return out, t.storage.GuaranteedUpdate(ctx, key(current.GetName()), out, false, nil, change, current)
}

func (t storageTarget) Get(ctx context.Context, name string) error {
	return t.storage.Get(ctx, key(name), apistorage.GetOptions{}, &unstructured.Unstructured{})
}

func (t storageTarget) Delete(ctx context.Context, current *unstructured.Unstructured) error {
	return t.storage.Delete(ctx, key(current.GetName()), &unstructured.Unstructured{}, nil,
		apistorage.ValidateAllObjectFunc, current, apistorage.DeleteOptions{})
}

func (t storageTarget) List(ctx context.Context, resourceVersion string) (int, error) {
	list := &unstructured.UnstructuredList{}
	err := t.storage.GetList(ctx, prefix+"/", everything(resourceVersion), list)
	return len(list.Items), err
}

func (t storageTarget) Now(ctx context.Context) (string, error) {
	now, err := t.storage.GetCurrentResourceVersion(ctx)
	return fmt.Sprint(now), err
}

func (t storageTarget) Watch(ctx context.Context, resourceVersion string) (watch.Interface, error) {
	return t.storage.Watch(ctx, prefix+"/", everything(resourceVersion))
}

func everything(resourceVersion string) apistorage.ListOptions {
	return apistorage.ListOptions{ResourceVersion: resourceVersion, Recursive: true, Predicate: apistorage.Everything}
}
