package store

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestRecordsShareWhatTheyHaveInCommon(t *testing.T) {
	record := func(name, image, path string) *unstructured.Unstructured {
		const text = `{"apiVersion":"runtime.galaxy.io/v1alpha1","kind":"GameRuntime",
			"metadata":{"name":%q,"managedFields":[{"manager":%q,"fieldsV1":{"f:spec":{"f:image":{}}}},{"manager":"none"}]},
			"spec":{"image":%q,"args":["--listen"],"probes":{"liveness":{"httpGet":{"path":%q,"port":8080}}}}}`
		obj, err := runtime.Decode(unstructured.UnstructuredJSONScheme, fmt.Appendf(nil, text, name, name, image, path))
		require.NoError(t, err)
		return obj.(*unstructured.Unstructured)
	}
	chess, goGame, other := record("chess", "a", "/healthz"), record("go", "b", "/healthz"), record("other", "a", "/livez")
	before := []*unstructured.Unstructured{chess.DeepCopy(), goGame.DeepCopy(), other.DeepCopy()}
	p := newParts()
	for _, u := range []*unstructured.Unstructured{chess, goGame, other} {
		p.share(u)
	}
	require.Equal(t, before, []*unstructured.Unstructured{chess, goGame, other})

	same := func(a, b *unstructured.Unstructured, fields ...string) bool {
		x, _, _ := unstructured.NestedFieldNoCopy(a.Object, fields...)
		y, _, _ := unstructured.NestedFieldNoCopy(b.Object, fields...)
		return reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer()
	}
	require.True(t, same(chess, goGame, "spec", "probes"))
	require.True(t, same(chess, goGame, "spec", "args"))
	require.False(t, same(chess, other, "spec", "probes"), "they differ in a leaf")
	owned := func(u *unstructured.Unstructured) uintptr {
		entries, _, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "managedFields")
		return reflect.ValueOf(entries.([]any)[0].(map[string]any)["fieldsV1"]).Pointer()
	}
	require.Equal(t, owned(chess), owned(other))
}
