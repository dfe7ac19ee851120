package apiserver

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// maxPlanned bounds what is read of a record, in bytes, as the API does where one
// is written.
const maxPlanned = 3 << 20

// Planner says what would be done to a game if its record were this one, which is
// as it would be stored. It changes nothing, and does not keep the record. An error
// is that it cannot tell yet.
type Planner func(ctx context.Context, record *v1alpha1.GameRuntime) (v1alpha1.GameRuntimePlan, error)

// plans answers what would be done to a game: with the record in the request, or
// with the stored one where there is none in it.
type plans struct {
	plan    Planner
	records dynamic.NamespaceableResourceInterface
	log     logr.Logger
}

func (p plans) subresource() subresource {
	return subresource{of: gameRuntimes, name: "plan", kind: "GameRuntimePlan", create: p.create}
}

func (p plans) create(req *http.Request, game types.NamespacedName) (runtime.Object, error) {
	asked, err := readPlanned(req.Body, game)
	if err != nil {
		return nil, err
	}
	stored, err := p.wouldBe(req.Context(), game, asked)
	if err != nil {
		return nil, err
	}
	record := &v1alpha1.GameRuntime{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, record); err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("reading the record: %w", err))
	}
	told, err := p.plan(req.Context(), record)
	if err != nil {
		p.log.V(1).Info("no plan can be made", "game", game.String(), "reason", err.Error())
		return nil, apierrors.NewServiceUnavailable("nothing is known of the engine yet; try again soon")
	}
	return &told, nil
}

// wouldBe is the record as it would be stored, defaulted and found valid: it is
// written in all but effect. Where none is asked about, it is the record as it is.
func (p plans) wouldBe(ctx context.Context, game types.NamespacedName, asked *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	const by = "runtime-manager-plan"
	records := p.records.Namespace(game.Namespace)
	stored, err := records.Get(ctx, game.Name, metav1.GetOptions{})
	switch {
	case asked == nil || err != nil && !apierrors.IsNotFound(err):
		return stored, err
	case err != nil:
		return records.Create(ctx, asked, metav1.CreateOptions{
			DryRun: []string{metav1.DryRunAll}, FieldManager: by, FieldValidation: metav1.FieldValidationStrict,
		})
	}
	stored.Object["spec"] = asked.Object["spec"]
	stored.SetLabels(asked.GetLabels())
	stored.SetAnnotations(asked.GetAnnotations())
	return records.Update(ctx, stored, metav1.UpdateOptions{
		DryRun: []string{metav1.DryRunAll}, FieldManager: by, FieldValidation: metav1.FieldValidationStrict,
	})
}

// readPlanned reads a game's record, JSON or YAML, and of its metadata what a
// decision may rest on; nil where there is none.
func readPlanned(body io.Reader, game types.NamespacedName) (*unstructured.Unstructured, error) {
	content, err := io.ReadAll(io.LimitReader(body, maxPlanned+1))
	switch {
	case err != nil:
		return nil, apierrors.NewBadRequest("the record cannot be read: " + err.Error())
	case len(content) > maxPlanned:
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("a record has at most %d bytes", maxPlanned))
	case len(content) == 0:
		return nil, nil
	}
	sent := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &sent.Object); err != nil {
		return nil, apierrors.NewBadRequest("the record is neither JSON nor YAML: " + err.Error())
	}
	if sent.Object == nil {
		return nil, apierrors.NewBadRequest("the record must be an object")
	}
	if sent.GetNamespace() == "" {
		sent.SetNamespace(game.Namespace)
	}
	for _, must := range []struct {
		path      *field.Path
		have, one string
	}{
		{field.NewPath("apiVersion"), sent.GetAPIVersion(), v1alpha1.GroupVersion.String()},
		{field.NewPath("kind"), sent.GetKind(), "GameRuntime"},
		{field.NewPath("metadata", "name"), sent.GetName(), game.Name},
		{field.NewPath("metadata", "namespace"), sent.GetNamespace(), game.Namespace},
	} {
		if must.have != must.one {
			return nil, apierrors.NewBadRequest(field.Invalid(must.path, must.have, "must be "+must.one+", as the request says").Error())
		}
	}
	asked := &unstructured.Unstructured{Object: map[string]any{"spec": sent.Object["spec"]}}
	asked.SetGroupVersionKind(sent.GroupVersionKind())
	asked.SetName(game.Name)
	asked.SetNamespace(game.Namespace)
	asked.SetLabels(sent.GetLabels())
	asked.SetAnnotations(sent.GetAnnotations())
	return asked, nil
}
