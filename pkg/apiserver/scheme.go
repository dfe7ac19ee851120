package apiserver

import (
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// builtins knows the built-in kinds. Kubernetes keeps an internal type beside
// each versioned one and converts between them; with one version a kind, the
// versioned type can be both, and there is nothing to convert. The exception is
// Event: see events.k8s.io in event_conversion.go.
var (
	builtins      = runtime.NewScheme()
	builtinCodecs = serializer.NewCodecFactory(builtins)
)

func init() {
	kinds := map[schema.GroupVersion][]runtime.Object{
		corev1.SchemeGroupVersion:           {&corev1.Namespace{}, &corev1.NamespaceList{}, &corev1.Event{}, &corev1.EventList{}},
		coordinationv1.SchemeGroupVersion:   {&coordinationv1.Lease{}, &coordinationv1.LeaseList{}},
		authenticationv1.SchemeGroupVersion: {&authenticationv1.SelfSubjectReview{}},
		authorizationv1.SchemeGroupVersion:  {&authorizationv1.SelfSubjectAccessReview{}, &authorizationv1.SelfSubjectRulesReview{}},
	}
	for version, objects := range kinds {
		register(version, objects, objects)
	}
	register(eventsv1.SchemeGroupVersion,
		[]runtime.Object{&eventsv1.Event{}, &eventsv1.EventList{}},
		[]runtime.Object{&corev1.Event{}, &corev1.EventList{}})
	builtins.AddUnversionedTypes(schema.GroupVersion{Version: "v1"},
		&metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})

	utilruntime.Must(addEventConversions(builtins))
	utilruntime.Must(addFieldLabels(builtins))
}

func register(version schema.GroupVersion, versioned, internal []runtime.Object) {
	builtins.AddKnownTypes(version, versioned...)
	builtins.AddKnownTypes(schema.GroupVersion{Group: version.Group, Version: runtime.APIVersionInternal}, internal...)
	metav1.AddToGroupVersion(builtins, version)
	utilruntime.Must(builtins.SetVersionPriority(version))
}

// addFieldLabels declares what `--field-selector` may name, besides the name
// and the namespace.
func addFieldLabels(scheme *runtime.Scheme) error {
	for kind, labels := range map[schema.GroupVersionKind]map[string]string{
		corev1.SchemeGroupVersion.WithKind("Namespace"): {"status.phase": "status.phase"},
		corev1.SchemeGroupVersion.WithKind("Event"):     coreEventLabels,
		eventsv1.SchemeGroupVersion.WithKind("Event"):   eventLabels,
	} {
		if err := scheme.AddFieldLabelConversionFunc(kind, renameLabels(labels)); err != nil {
			return err
		}
	}
	return nil
}

// renameLabels maps the labels of a served version to those of the storage.
func renameLabels(names map[string]string) runtime.FieldLabelConversionFunc {
	return func(label, value string) (string, string, error) {
		if label == "metadata.name" || label == "metadata.namespace" {
			return label, value, nil
		}
		name, ok := names[label]
		if !ok {
			return "", "", fmt.Errorf("field label not supported: %s", label)
		}
		return name, value, nil
	}
}
