package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// planAsAsked is a Planner that tells what it was asked about; of the game
// unseen it cannot tell yet.
func planAsAsked(_ context.Context, record *v1alpha1.GameRuntime) (v1alpha1.GameRuntimePlan, error) {
	if record.Name == "unseen" {
		return v1alpha1.GameRuntimePlan{}, errors.New("open /var/run/docker.sock: no such file")
	}
	return v1alpha1.GameRuntimePlan{
		Game: record.Namespace + "/" + record.Name,
		Actions: []v1alpha1.PlannedAction{{
			Action:  v1alpha1.ActionCreate,
			Message: fmt.Sprintf("%s %s generation %d uid %s", record.Spec.Image, record.Spec.Resources.Memory.String(), record.Generation, record.UID),
			Reason:  string(record.Status.Phase) + record.Annotations["note"],
		}},
	}, nil
}

// plan asks as the administrator what a body would come to.
func (a *api) plan(namespace, game string, body []byte) (*v1alpha1.GameRuntimePlan, error) {
	client, err := kubernetes.NewForConfig(a.admin)
	require.NoError(a.t, err)
	path := fmt.Sprintf("/apis/runtime.galaxy.io/v1alpha1/namespaces/%s/gameruntimes/%s/plan", namespace, game)
	answer := client.CoreV1().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).Do(a.t.Context())
	if err := answer.Error(); err != nil {
		return nil, err
	}
	content, err := answer.Raw()
	require.NoError(a.t, err)
	told := &v1alpha1.GameRuntimePlan{}
	require.NoError(a.t, json.Unmarshal(content, told))
	return told, nil
}

func testPlan(t *testing.T, a *api) {
	namespace := a.namespace("plans")
	chess, err := a.games(namespace).Create(t.Context(), game("chess"), metav1.CreateOptions{})
	require.NoError(t, err)
	uid := string(chess.GetUID())
	require.NoError(t, unstructured.SetNestedField(chess.Object, "Running", "status", "phase"))
	chess, err = a.games(namespace).UpdateStatus(t.Context(), chess, metav1.UpdateOptions{})
	require.NoError(t, err)

	told, err := a.plan(namespace, "chess", nil)
	require.NoError(t, err)
	require.Equal(t, "runtime.galaxy.io/v1alpha1, Kind=GameRuntimePlan", told.GroupVersionKind().String())
	require.Equal(t, namespace+"/chess", told.Game)
	require.Equal(t, "galaxy/demo-game:1.0.0 512Mi generation 1 uid "+uid, told.Actions[0].Message, "the stored record")

	edited := game("chess", func(spec map[string]any) { spec["image"] = "galaxy/demo-game:1.0.1" })
	edited.SetAnnotations(map[string]string{"note": ", noted"})
	edited.SetUID("somebody-else")
	require.NoError(t, unstructured.SetNestedField(edited.Object, "Failed", "status", "phase"))
	told, err = a.plan(namespace, "chess", []byte(manifest(t, edited)))
	require.NoError(t, err)
	require.Equal(t, "galaxy/demo-game:1.0.1 512Mi generation 2 uid "+uid, told.Actions[0].Message, "as it would be stored")
	require.Equal(t, "Running, noted", told.Actions[0].Reason, "nobody brings a status along")

	told, err = a.plan(namespace, "young", []byte("kind: GameRuntime\napiVersion: runtime.galaxy.io/v1alpha1\nmetadata: {name: young}\nspec: {image: 'galaxy/demo-game:1.0.0'}\n"))
	require.NoError(t, err)
	require.Contains(t, told.Actions[0].Message, "galaxy/demo-game:1.0.0 512Mi generation 1 uid ", "a game without a record, in YAML")

	after, err := a.games(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, after.Items, 1, "nothing was written")
	require.Equal(t, chess.Object, after.Items[0].Object)
}

// What cannot be planned is refused with the field at fault.
func testBadPlan(t *testing.T, a *api) {
	namespace := a.namespace("bad-plans")
	_, err := a.games(namespace).Create(t.Context(), game("chess"), metav1.CreateOptions{})
	require.NoError(t, err)
	about := func(edit func(*unstructured.Unstructured)) []byte {
		record := game("chess")
		edit(record)
		return []byte(manifest(t, record))
	}
	spec := func(path string, value any) []byte {
		return about(func(record *unstructured.Unstructured) {
			require.NoError(t, unstructured.SetNestedField(record.Object, value, append([]string{"spec"}, strings.Split(path, ".")...)...))
		})
	}
	for name, c := range map[string]struct {
		game string
		body []byte
		code int
		want string
	}{
		"another name":      {"go", about(func(*unstructured.Unstructured) {}), http.StatusBadRequest, `metadata.name: Invalid value: "chess": must be go`},
		"another namespace": {"chess", about(func(r *unstructured.Unstructured) { r.SetNamespace("default") }), http.StatusBadRequest, `metadata.namespace: Invalid value: "default"`},
		"another kind":      {"chess", about(func(r *unstructured.Unstructured) { r.SetKind("DriftReport") }), http.StatusBadRequest, `kind: Invalid value`},
		"another version":   {"chess", about(func(r *unstructured.Unstructured) { r.SetAPIVersion("v1") }), http.StatusBadRequest, `apiVersion: Invalid value`},
		"no object":         {"chess", []byte("just words"), http.StatusBadRequest, "neither JSON nor YAML"},
		"nothing":           {"chess", []byte("null"), http.StatusBadRequest, "must be an object"},
		"too long":          {"chess", bytes.Repeat([]byte(" "), maxPlanned+1), http.StatusRequestEntityTooLarge, "at most"},
		"an unknown field":  {"chess", spec("memory", "1Gi"), http.StatusBadRequest, `unknown field "spec.memory"`},
		"an immutable one":  {"chess", spec("storage.mountPath", "/elsewhere"), http.StatusUnprocessableEntity, "mountPath is immutable"},
		"an image too far":  {"chess", spec("image", "galaxy/demo-game:2.0.0"), http.StatusUnprocessableEntity, "further than update.policy Patch goes"},
		"no specification":  {"chess", about(func(r *unstructured.Unstructured) { delete(r.Object, "spec") }), http.StatusUnprocessableEntity, "spec"},
		"no record":         {"none", nil, http.StatusNotFound, `"none" not found`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.in(t).plan(namespace, c.game, c.body)
			var status apierrors.APIStatus
			require.ErrorAs(t, err, &status)
			require.EqualValues(t, c.code, status.Status().Code, "%v", err)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err = a.plan("no-such-namespace", "chess", []byte(manifest(t, game("chess"))))
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	_, err = a.plan(namespace, "unseen", []byte(manifest(t, game("unseen"))))
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	require.NotContains(t, err.Error(), "docker.sock", "what is inside stays inside")
}
