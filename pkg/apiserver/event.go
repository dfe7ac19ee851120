package apiserver

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
)

// eventTTL is how long an Event is kept after it was last written. Events
// explain the last hour to people; the record's status is what lasts.
const eventTTL = time.Hour

// eventReasonLength and eventMessageLength are Kubernetes' limits, in bytes.
const (
	eventReasonLength  = 128
	eventMessageLength = 1024
)

var coreEventLabels = map[string]string{
	"involvedObject.kind":            "involvedObject.kind",
	"involvedObject.namespace":       "involvedObject.namespace",
	"involvedObject.name":            "involvedObject.name",
	"involvedObject.uid":             "involvedObject.uid",
	"involvedObject.apiVersion":      "involvedObject.apiVersion",
	"involvedObject.resourceVersion": "involvedObject.resourceVersion",
	"involvedObject.fieldPath":       "involvedObject.fieldPath",
	"reason":                         "reason",
	"reportingComponent":             "reportingComponent",
	"source":                         "source",
	"type":                           "type",
}

// eventLabels are the same fields under the names of events.k8s.io.
var eventLabels = map[string]string{
	"regarding.kind":            "involvedObject.kind",
	"regarding.namespace":       "involvedObject.namespace",
	"regarding.name":            "involvedObject.name",
	"regarding.uid":             "involvedObject.uid",
	"regarding.apiVersion":      "involvedObject.apiVersion",
	"regarding.resourceVersion": "involvedObject.resourceVersion",
	"regarding.fieldPath":       "involvedObject.fieldPath",
	"reason":                    "reason",
	"reportingController":       "reportingComponent",
	"type":                      "type",
}

func newEventStorage(options generic.RESTOptionsGetter) (*storage, error) {
	resource := schema.GroupResource{Resource: "events"}
	s := strategy{
		ObjectTyper: builtins, namespaced: true, createOnUpdate: true, unconditionalUpdate: true,
		validateName: apivalidation.NameIsDNSSubdomain, validate: validateEvent,
	}
	return newStorage(&genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &corev1.Event{} },
		NewListFunc:               func() runtime.Object { return &corev1.EventList{} },
		DefaultQualifiedResource:  resource,
		SingularQualifiedResource: schema.GroupResource{Resource: "event"},
		CreateStrategy:            s,
		UpdateStrategy:            s,
		DeleteStrategy:            s,
		TTLFunc:                   func(runtime.Object, uint64, bool) (uint64, error) { return uint64(eventTTL.Seconds()), nil },
		TableConvertor:            newTable(resource, eventColumns, eventCells),
	}, options, eventAttributes, "ev")
}

func validateEvent(obj runtime.Object) (errs field.ErrorList) {
	e := obj.(*corev1.Event)
	// An Event about a cluster-scoped object goes to the default namespace.
	if ns := e.InvolvedObject.Namespace; ns != e.Namespace && (ns != "" || e.Namespace != metav1.NamespaceDefault) {
		errs = append(errs, field.Invalid(field.NewPath("involvedObject", "namespace"), ns, "does not match event.namespace"))
	}
	if len(e.Reason) > eventReasonLength {
		errs = append(errs, field.TooLong(field.NewPath("reason"), "", eventReasonLength))
	}
	if len(e.Message) > eventMessageLength {
		errs = append(errs, field.TooLong(field.NewPath("message"), "", eventMessageLength))
	}
	return errs
}

func eventAttributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	e, ok := obj.(*corev1.Event)
	if !ok {
		return nil, nil, fmt.Errorf("not an Event: %T", obj)
	}
	return e.Labels, generic.MergeFieldsSets(generic.ObjectMetaFieldsSet(&e.ObjectMeta, true), fields.Set{
		"involvedObject.kind":            e.InvolvedObject.Kind,
		"involvedObject.namespace":       e.InvolvedObject.Namespace,
		"involvedObject.name":            e.InvolvedObject.Name,
		"involvedObject.uid":             string(e.InvolvedObject.UID),
		"involvedObject.apiVersion":      e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion,
		"involvedObject.fieldPath":       e.InvolvedObject.FieldPath,
		"reason":                         e.Reason,
		"reportingComponent":             e.ReportingController,
		"source":                         eventSource(e),
		"type":                           e.Type,
	}), nil
}

var eventColumns = []metav1.TableColumnDefinition{
	{Name: "Last Seen", Type: "string", Description: "Time since the event was last observed."},
	{Name: "Type", Type: "string", Description: "Normal or Warning."},
	{Name: "Reason", Type: "string", Description: "Why, in one word for machines."},
	{Name: "Object", Type: "string", Description: "What the event is about."},
	{Name: "Source", Type: "string", Priority: 1, Description: "Who reports it."},
	{Name: "Message", Type: "string", Description: "What happened, for people."},
	{Name: "First Seen", Type: "string", Priority: 1, Description: "Time since the event was first observed."},
	{Name: "Count", Type: "integer", Priority: 1, Description: "How often it was observed."},
	{Name: "Name", Type: "string", Priority: 1, Format: "name", Description: "Name of the event itself."},
}

func eventCells(e *corev1.Event) []any {
	first, last, count := e.FirstTimestamp.Time, e.LastTimestamp.Time, e.Count
	if first.IsZero() {
		first = e.EventTime.Time
	}
	if last.IsZero() {
		last = first
	}
	if e.Series != nil {
		last, count = e.Series.LastObservedTime.Time, e.Series.Count
	}
	count = max(count, 1)
	object := strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name
	return []any{
		since(last), e.Type, e.Reason, object, eventSource(e),
		strings.TrimSpace(e.Message), since(first), int64(count), e.Name,
	}
}

// eventSource is who reports: old writers name a component, new ones a controller.
func eventSource(e *corev1.Event) string {
	if e.Source.Component != "" {
		return e.Source.Component
	}
	return e.ReportingController
}
