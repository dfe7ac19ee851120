package apiserver

import (
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// builtinCodec encodes a built-in kind for the store, in the version that it
// is served in; Events of both groups are stored as core Events.
func builtinCodec(resource schema.GroupResource) runtime.Codec {
	return builtinCodecs.LegacyCodec(builtins.PrioritizedVersionsForGroup(resource.Group)...)
}

// installBuiltins adds the kinds that Kubernetes has and our clients need:
// namespaces to put records in, events to tell their story, leases to elect a
// leader, and the reviews behind `kubectl auth`.
func installBuiltins(server *genericapiserver.GenericAPIServer, options generic.RESTOptionsGetter) error {
	namespaces, err := newNamespaceStorage(options)
	if err != nil {
		return err
	}
	events, err := newEventStorage(options)
	if err != nil {
		return err
	}
	leases, err := newLeaseStorage(options)
	if err != nil {
		return err
	}
	core := apiGroup(corev1.SchemeGroupVersion, map[string]rest.Storage{"namespaces": namespaces, "events": events})
	if err := server.InstallLegacyAPIGroup(genericapiserver.DefaultLegacyAPIPrefix, core); err != nil {
		return fmt.Errorf("installing the core group: %w", err)
	}
	err = server.InstallAPIGroups(
		apiGroup(eventsv1.SchemeGroupVersion, map[string]rest.Storage{"events": events}),
		apiGroup(coordinationv1.SchemeGroupVersion, map[string]rest.Storage{"leases": leases}),
		apiGroup(authenticationv1.SchemeGroupVersion, map[string]rest.Storage{"selfsubjectreviews": selfReview{}}),
		apiGroup(authorizationv1.SchemeGroupVersion, map[string]rest.Storage{
			"selfsubjectaccessreviews": selfAccessReview{server.Authorizer}, "selfsubjectrulesreviews": selfRulesReview{},
		}),
	)
	if err != nil {
		return fmt.Errorf("installing the built-in groups: %w", err)
	}
	return nil
}

func apiGroup(version schema.GroupVersion, resources map[string]rest.Storage) *genericapiserver.APIGroupInfo {
	info := genericapiserver.NewDefaultAPIGroupInfo(version.Group, builtins, runtime.NewParameterCodec(builtins), builtinCodecs)
	info.VersionedResourcesStorageMap[version.Version] = resources
	return &info
}

func newLeaseStorage(options generic.RESTOptionsGetter) (*storage, error) {
	resource := schema.GroupResource{Group: coordinationv1.GroupName, Resource: "leases"}
	s := strategy{
		ObjectTyper: builtins, namespaced: true, createOnUpdate: true,
		validateName: apivalidation.NameIsDNSSubdomain, validate: validateLease,
	}
	return newStorage(&genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &coordinationv1.Lease{} },
		NewListFunc:               func() runtime.Object { return &coordinationv1.LeaseList{} },
		DefaultQualifiedResource:  resource,
		SingularQualifiedResource: schema.GroupResource{Group: coordinationv1.GroupName, Resource: "lease"},
		CreateStrategy:            s,
		UpdateStrategy:            s,
		DeleteStrategy:            s,
		TableConvertor:            rest.NewDefaultTableConvertor(resource),
	}, options, nil)
}

func validateLease(obj runtime.Object) (errs field.ErrorList) {
	spec := obj.(*coordinationv1.Lease).Spec
	path := field.NewPath("spec")
	if d := spec.LeaseDurationSeconds; d != nil && *d <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), *d, "must be greater than 0"))
	}
	if n := spec.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(path.Child("leaseTransitions"), *n, "must be 0 or more"))
	}
	return errs
}
