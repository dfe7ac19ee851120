package v1alpha1

import (
	"bytes"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AskedBy names who asked for the record as it is: the field manager that wrote
// its spec last, such as kubectl. It is empty where that is not known; so it is
// while the record is being deleted, as nothing tells who asked for that.
func (r *GameRuntime) AskedBy() string {
	writer := r.lastWriter()
	if writer == nil || !r.DeletionTimestamp.IsZero() {
		return ""
	}
	return writer.Manager
}

// ForgetFields drops who manages which field of the record, which is as long as
// the record itself, and keeps who wrote its spec last. What is left is for
// reading: it may not be written back.
func (r *GameRuntime) ForgetFields() {
	writer := r.lastWriter()
	r.ManagedFields = nil
	if writer != nil {
		r.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: writer.Manager, Operation: writer.Operation, Time: writer.Time}}
	}
}

func (r *GameRuntime) lastWriter() *metav1.ManagedFieldsEntry {
	var last *metav1.ManagedFieldsEntry
	for i := range r.ManagedFields {
		if entry := &r.ManagedFields[i]; managesSpec(entry) && (last == nil || !entry.Time.Before(last.Time)) {
			last = entry
		}
	}
	return last
}

// managesSpec takes an entry without fields for what ForgetFields left.
func managesSpec(entry *metav1.ManagedFieldsEntry) bool {
	if entry.Subresource != "" {
		return false
	}
	if entry.FieldsV1 == nil {
		return true
	}
	text := entry.FieldsV1.GetRawBytes()
	var fields map[string]json.RawMessage
	if !bytes.Contains(text, []byte(`"f:spec"`)) || json.Unmarshal(text, &fields) != nil {
		return false
	}
	_, spec := fields["f:spec"]
	return spec
}
