package command

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"
)

// owned is what a manager declared of a record's spec by its applies, and nobody
// took over since.
func owned(stored *unstructured.Unstructured, manager string) map[string]any {
	for _, entry := range stored.GetManagedFields() {
		if entry.Manager != manager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" {
			continue
		}
		var fields map[string]any
		if entry.FieldsV1 == nil || kjson.UnmarshalCaseSensitivePreserveInts(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			return nil
		}
		all, _ := pick(stored.Object, fields).(map[string]any)
		spec, _ := all["spec"].(map[string]any)
		return spec
	}
	return nil
}

// pick takes those fields out of a value that a field set names: f: a field of an
// object, k: and v: an item of a list by its key or its value, and with nothing
// below it all that there is.
func pick(value any, fields map[string]any) any {
	switch value := value.(type) {
	case map[string]any:
		picked := map[string]any{}
		for key, below := range fields {
			name, isField := strings.CutPrefix(key, "f:")
			if item, there := value[name]; isField && there {
				below, _ := below.(map[string]any)
				picked[name] = pick(item, below)
			}
		}
		return picked
	case []any:
		if len(fields) == 0 {
			return value
		}
		return pickItems(value, fields)
	default:
		return value
	}
}

func pickItems(items []any, fields map[string]any) []any {
	picked := []any{}
	for _, item := range items {
		for key, below := range fields {
			if selects(key, item) {
				below, _ := below.(map[string]any)
				picked = append(picked, pick(item, below))
			}
		}
	}
	return picked
}

func selects(key string, item any) bool {
	kind, text, _ := strings.Cut(key, ":")
	var wanted any
	if kind != "k" && kind != "v" || kjson.UnmarshalCaseSensitivePreserveInts([]byte(text), &wanted) != nil {
		return false
	}
	if kind == "v" {
		return says(item, wanted)
	}
	_, isObject := item.(map[string]any)
	return isObject && says(item, wanted)
}

// says that a value holds all of another one: at least its fields, and lists as
// they are.
func says(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		for name, value := range want {
			ok = ok && says(fields[name], value)
		}
		return ok
	case []any:
		items, ok := have.([]any)
		ok = ok && len(items) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = says(items[i], want[i])
		}
		return ok
	default:
		return have == want
	}
}
