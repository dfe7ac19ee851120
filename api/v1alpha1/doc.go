// Package v1alpha1 holds the words of Runtime Manager: the record types that
// people and services write, and the condition types, reasons and label keys
// that the controllers answer with. It imports nothing of ours.
//
// +kubebuilder:object:generate=true
// +groupName=runtime.galaxy.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every record in this package.
var GroupVersion = schema.GroupVersion{Group: "runtime.galaxy.io", Version: "v1alpha1"}

// AddToScheme registers the record types with a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &GameRuntime{}, &GameRuntimeList{}, &DriftReport{}, &DriftReportList{}, &GameRuntimeHistory{}, &GameRuntimePlan{}, &GameRuntimeStats{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
