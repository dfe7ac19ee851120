package v1alpha1

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// managed is an entry of a second.
func managed(manager, subresource, fields string, second int64) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource,
		Time: &metav1.Time{Time: time.Unix(second, 0)}, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func TestAskedByIsWhoWroteTheSpecLast(t *testing.T) {
	const spec, finalizer = `{"f:spec":{"f:state":{}}}`, `{"f:metadata":{"f:finalizers":{".":{}}}}`
	for name, test := range map[string]struct {
		entries []metav1.ManagedFieldsEntry
		want    string
	}{
		"nobody known": {nil, ""},
		"the creator":  {[]metav1.ManagedFieldsEntry{managed("lobby", "", spec, 1)}, "lobby"},
		"the last one, wherever it stands": {
			[]metav1.ManagedFieldsEntry{managed("kubectl-edit", "", spec, 3), managed("lobby", "", spec, 1)}, "kubectl-edit",
		},
		"not who wrote the rest": {[]metav1.ManagedFieldsEntry{
			managed("lobby", "", spec, 1), managed("runtime-manager", "", finalizer, 2), managed("runtime-manager", "status", spec, 3),
			managed("kubectl-annotate", "", `{"f:metadata":{"f:annotations":{"f:spec":{}}}}`, 4), managed("odd", "", `{"f:spec"`, 5),
		}, "lobby"},
		"one without a time": {[]metav1.ManagedFieldsEntry{{Manager: "lobby"}}, "lobby"},
	} {
		t.Run(name, func(t *testing.T) {
			record := &GameRuntime{ObjectMeta: metav1.ObjectMeta{ManagedFields: test.entries}}
			require.Equal(t, test.want, record.AskedBy())
			for range 2 { // a cache may do it again
				record.ForgetFields()
				require.Equal(t, test.want, record.AskedBy())
				require.LessOrEqual(t, len(record.ManagedFields), 1)
				for _, entry := range record.ManagedFields {
					require.Nil(t, entry.FieldsV1)
				}
			}
			record.DeletionTimestamp = &metav1.Time{Time: time.Unix(9, 0)}
			require.Empty(t, record.AskedBy(), "who deleted it is not known")
		})
	}
}
