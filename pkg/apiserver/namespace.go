package apiserver

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
)

// contentsFinalizer holds a deleted namespace until nothing is left in it.
// Kubernetes keeps the same promise in spec.finalizers; with one in the
// metadata, the generic store already knows what to do.
const contentsFinalizer = "runtime.galaxy.io/namespace-contents"

// namespaceStrategy adds the finalizer, and keeps the status ours.
type namespaceStrategy struct{ strategy }

func (namespaceStrategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	ns := obj.(*corev1.Namespace)
	ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	if !slices.Contains(ns.Finalizers, contentsFinalizer) {
		ns.Finalizers = append(ns.Finalizers, contentsFinalizer)
	}
}

func (namespaceStrategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	obj.(*corev1.Namespace).Status = old.(*corev1.Namespace).Status
}

func newNamespaceStorage(options generic.RESTOptionsGetter) (*storage, error) {
	resource := schema.GroupResource{Resource: "namespaces"}
	s := namespaceStrategy{strategy{
		ObjectTyper: builtins, unconditionalUpdate: true, validateName: apivalidation.ValidateNamespaceName,
	}}
	return newStorage(&genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &corev1.Namespace{} },
		NewListFunc:               func() runtime.Object { return &corev1.NamespaceList{} },
		DefaultQualifiedResource:  resource,
		SingularQualifiedResource: schema.GroupResource{Resource: "namespace"},
		CreateStrategy:            s,
		UpdateStrategy:            s,
		DeleteStrategy:            s,
		ReturnDeletedObject:       true,
		Decorator:                 decorateNamespace,
		TableConvertor:            newTable(resource, namespaceColumns, namespaceCells),
	}, options, namespaceAttributes, "ns")
}

// decorateNamespace tells the phase. It follows from the deletion timestamp,
// which the generic store sets without asking us, so it is not stored.
func decorateNamespace(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Namespace:
		o.Status.Phase = namespacePhase(o)
	case *corev1.NamespaceList:
		for i := range o.Items {
			o.Items[i].Status.Phase = namespacePhase(&o.Items[i])
		}
	}
}

func namespacePhase(ns *corev1.Namespace) corev1.NamespacePhase {
	if ns.DeletionTimestamp != nil {
		return corev1.NamespaceTerminating
	}
	return corev1.NamespaceActive
}

func namespaceAttributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	ns, ok := obj.(*corev1.Namespace)
	if !ok {
		return nil, nil, fmt.Errorf("not a Namespace: %T", obj)
	}
	return ns.Labels, generic.MergeFieldsSets(
		generic.ObjectMetaFieldsSet(&ns.ObjectMeta, false),
		fields.Set{"status.phase": string(namespacePhase(ns))},
	), nil
}

var namespaceColumns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: "Name of the namespace."},
	{Name: "Status", Type: "string", Description: "Active, or Terminating while its contents are deleted."},
	{Name: "Age", Type: "string", Description: "Time since it was created."},
}

func namespaceCells(ns *corev1.Namespace) []any {
	return []any{ns.Name, string(namespacePhase(ns)), since(ns.CreationTimestamp.Time)}
}
