package apiserver

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	apistorage "k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
)

// storage serves one built-in kind.
type storage struct {
	*genericregistry.Store
	shortNames []string
}

// ShortNames lets people type `kubectl get ns`.
func (s *storage) ShortNames() []string { return s.shortNames }

// newStorage completes the store of a kind. A nil attributes selects by name
// and namespace alone.
func newStorage(store *genericregistry.Store, options generic.RESTOptionsGetter, attributes apistorage.AttrFunc, shortNames ...string) (*storage, error) {
	if err := store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options, AttrFunc: attributes}); err != nil {
		return nil, fmt.Errorf("opening the storage of %s: %w", store.DefaultQualifiedResource, err)
	}
	return &storage{Store: store, shortNames: shortNames}, nil
}

// strategy is how a built-in kind is written. Kinds differ in little: they are
// plain data, and what they say is up to their writers.
type strategy struct {
	runtime.ObjectTyper
	namespaced bool
	// createOnUpdate lets a PUT create, as Kubernetes does for this kind.
	createOnUpdate bool
	// unconditionalUpdate lets a PUT without a resourceVersion overwrite.
	unconditionalUpdate bool
	validateName        apivalidation.ValidateNameFunc
	// validate judges the object's own fields; nil accepts all.
	validate func(runtime.Object) field.ErrorList
}

func (s strategy) GenerateName(base string) string {
	return names.SimpleNameGenerator.GenerateName(base)
}
func (s strategy) NamespaceScoped() bool                         { return s.namespaced }
func (s strategy) AllowCreateOnUpdate(context.Context) bool      { return s.createOnUpdate }
func (s strategy) AllowUnconditionalUpdate(context.Context) bool { return s.unconditionalUpdate }

func (s strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	m, err := meta.Accessor(obj)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	errs := apivalidation.ValidateObjectMetaAccessor(m, s.namespaced, s.validateName, field.NewPath("metadata"))
	return append(errs, s.validateFields(obj)...)
}

func (s strategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	m, err := meta.Accessor(obj)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	oldMeta, err := meta.Accessor(old)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	errs := apivalidation.ValidateObjectMetaAccessorUpdate(m, oldMeta, field.NewPath("metadata"))
	return append(errs, s.validateFields(obj)...)
}

func (s strategy) validateFields(obj runtime.Object) field.ErrorList {
	if s.validate == nil {
		return nil
	}
	return s.validate(obj)
}

// The rest of upstream's interface: nothing to prepare, warn of or normalise.

func (strategy) PrepareForCreate(context.Context, runtime.Object)                 {}
func (strategy) PrepareForUpdate(context.Context, runtime.Object, runtime.Object) {}
func (strategy) Canonicalize(runtime.Object)                                      {}
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string {
	return nil
}
func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
