package apiserver

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// with sets fields of a spec.
func with(fields map[string]any) func(map[string]any) {
	return func(spec map[string]any) { maps.Copy(spec, fields) }
}

func testBadInput(t *testing.T, a *api) {
	ns := a.namespace("bad-input")
	_, err := a.games(ns).Create(t.Context(), game("mounted"), metav1.CreateOptions{})
	require.NoError(t, err)

	for name, c := range map[string]struct {
		record    string
		namespace string
		spec      map[string]any
		code      int32
		says      string
	}{
		"a field nobody knows":  {spec: map[string]any{"colour": "red"}, code: 400, says: `unknown field "spec.colour"`},
		"no quantity":           {spec: map[string]any{"resources": map[string]any{"memory": "lots"}}, code: 422, says: "spec.resources.memory"},
		"too small a quantity":  {spec: map[string]any{"resources": map[string]any{"cpu": "0"}}, code: 422, says: "spec.resources.cpu"},
		"too little memory":     {spec: map[string]any{"resources": map[string]any{"memory": "5Mi"}}, code: 422, says: "spec.resources.memory: Invalid value: \"5Mi\": must be a quantity of at least 6Mi"},
		"no image reference":    {spec: map[string]any{"image": "Not An Image"}, code: 422, says: "spec.image"},
		"a state that is none":  {spec: map[string]any{"state": "Paused"}, code: 422, says: "spec.state"},
		"a name with a dot":     {record: "a.b", code: 422, says: "metadata.name must be a DNS label"},
		"a name with a capital": {record: "Chess", code: 422, says: "metadata.name: Invalid value: \"Chess\": a lowercase RFC 1123 subdomain must consist of"},
		"no program's name":     {spec: map[string]any{"command": []any{strings.Repeat("x", 4097)}}, code: 422, says: "spec.command[0]: Too long: may not be more than 4096"},
		"nor before a stop": {spec: map[string]any{"lifecycle": map[string]any{"preStop": map[string]any{"exec": map[string]any{"command": []any{strings.Repeat("x", 4097)}}}}},
			code: 422, says: "command[0]: Too long: may not be more than 4096"},
		"no such namespace": {namespace: "nowhere", code: 404, says: `namespaces "nowhere" not found`},
	} {
		t.Run(name, func(t *testing.T) {
			record, in := "chess", ns
			if c.record != "" {
				record = c.record
			}
			if c.namespace != "" {
				in = c.namespace
			}
			_, err := a.in(t).games(in).Create(t.Context(), game(record, with(c.spec)), metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
			requireStatus(t, err, c.code, c.says)
		})
	}
	t.Run("an immutable field", func(t *testing.T) {
		_, err := a.in(t).games(ns).Patch(t.Context(), "mounted", types.MergePatchType, []byte(`{"spec":{"storage":{"mountPath":"/elsewhere"}}}`), metav1.PatchOptions{})
		requireStatus(t, err, 422, "spec.storage.mountPath")
	})
	t.Run("a field nobody knows, server-side", func(t *testing.T) {
		_, err := a.in(t).games(ns).Apply(t.Context(), "chess", game("chess", with(map[string]any{"colour": "red"})), metav1.ApplyOptions{FieldManager: "test"})
		requireStatus(t, err, 400, ".spec.colour")
	})
}

func requireStatus(t *testing.T, err error, code int32, says string) {
	t.Helper()
	var status apierrors.APIStatus
	require.ErrorAs(t, err, &status)
	require.Equal(t, code, status.Status().Code, "%v", err)
	require.Contains(t, status.Status().Message, says)
}

func testConflicts(t *testing.T, a *api) {
	ns := a.namespace("conflicts")
	records := a.games(ns)
	stale, err := records.Create(t.Context(), game("chess"), metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = records.Patch(t.Context(), "chess", types.MergePatchType, []byte(`{"spec":{"state":"Stopped"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = records.Update(t.Context(), stale, metav1.UpdateOptions{})
	require.True(t, apierrors.IsConflict(err), "a stale replace: %v", err)

	_, err = records.Apply(t.Context(), "go", game("go"), metav1.ApplyOptions{FieldManager: "lobby"})
	require.NoError(t, err)
	other := game("go", with(map[string]any{"image": "galaxy/demo-game:1.0.1"}))
	_, err = records.Apply(t.Context(), "go", other, metav1.ApplyOptions{FieldManager: "operator"})
	require.True(t, apierrors.IsConflict(err), "a field of another manager: %v", err)
	require.ErrorContains(t, err, "spec.image")
	_, err = records.Apply(t.Context(), "go", other, metav1.ApplyOptions{FieldManager: "operator", Force: true})
	require.NoError(t, err)
}
