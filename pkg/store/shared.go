package store

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/lru"
)

// partsKept bounds the parts that are kept to be shared, of about 1 kB each.
const partsKept = 2048

// parts are what many records have in common. Games of one kind differ in name
// and image; their probes, their resources and the sets of fields that each
// manager owns are the same. Decoded for each record anew, they would take most
// of the memory of the watch cache.
type parts struct{ known *lru.Cache }

func newParts() parts { return parts{lru.New(partsKept)} }

// share gives a record the copies of its parts that others hold already. Objects
// that come of lists and watches are not changed in place, which is what lets
// the watch cache give one object to many, and us one part to many objects.
func (p parts) share(obj runtime.Object) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return
	}
	if spec, ok := u.Object["spec"].(map[string]any); ok {
		for field := range spec {
			p.shareIn(spec, field)
		}
	}
	managers, _, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "managedFields")
	entries, _ := managers.([]any)
	for _, e := range entries {
		if entry, ok := e.(map[string]any); ok {
			p.shareIn(entry, "fieldsV1")
		}
	}
}

// shareIn replaces a field by the equal one that was seen first. Equal is what
// clients are sent equally: 1.0 and 1 are both sent as 1.
func (p parts) shareIn(object map[string]any, field string) {
	switch object[field].(type) {
	case map[string]any, []any:
	default:
		return
	}
	encoded, err := json.Marshal(object[field])
	if err != nil {
		return // a codec of JSON decodes nothing of the kind
	}
	if known, ok := p.known.Get(string(encoded)); ok {
		object[field] = known
	} else {
		p.known.Add(string(encoded), object[field])
	}
}
