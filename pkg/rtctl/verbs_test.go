package rtctl

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

// TestVerbsAgainstServer runs the verbs that kubectl has not on one real API server.
// There is no manager behind it: status and plans are what the test makes up.
func TestVerbsAgainstServer(t *testing.T) {
	server := apiservertest.Start(t, func(o *apiserver.Options) { o.Plan = planByImage })
	for name, run := range map[string]func(*testing.T, *apiservertest.Server){
		"plans of files":           testPlanFiles,
		"plans of records":         testPlanRecords,
		"plans on their way":       testPlanPiped,
		"what cannot be planned":   testPlanRefusals,
		"drift":                    testDrift,
		"drift as it changes":      testDriftWatch,
		"drift that is not there":  testNoDrift,
		"containers of no record":  testOrphans,
		"exit codes of difference": testDifferenceCodes,
		"start, stop and restart":  testWishes,
		"first tries that fail":    testWishesThatFail,
		"wishes that cannot be":    testWishesRefused,
		"waits that end early":     testWishesInterrupted,
	} {
		t.Run(name, func(t *testing.T) {
			here(t)
			t.Setenv("KUBECONFIG", server.Kubeconfig())
			run(t, server)
		})
	}
}

// planByImage is a Planner to which every container was made of 1.0.0 with 512Mi.
func planByImage(_ context.Context, record *v1alpha1.GameRuntime) (v1alpha1.GameRuntimePlan, error) {
	plan := v1alpha1.GameRuntimePlan{Game: record.Namespace + "/" + record.Name, Actions: []v1alpha1.PlannedAction{}}
	if image := record.Spec.Image; image != "galaxy/demo-game:1.0.0" {
		plan.StopsGame = true
		plan.Drift = append(plan.Drift, v1alpha1.Drift{
			Kind: v1alpha1.DriftSpecMismatch, Field: "image", Desired: image, Actual: "galaxy/demo-game:1.0.0", Action: "recreate the container",
		})
		plan.Actions = append(plan.Actions,
			v1alpha1.PlannedAction{Action: v1alpha1.ActionStop, Message: "stop container 0123456789ab", Reason: "its specification changed", StopsGame: true},
			v1alpha1.PlannedAction{Action: v1alpha1.ActionCreate, Message: "create container chess"},
			v1alpha1.PlannedAction{Action: v1alpha1.ActionStart, Message: "start container"},
		)
	}
	if memory := record.Spec.Resources.Memory; memory.String() != "512Mi" {
		plan.Drift = append(plan.Drift, v1alpha1.Drift{
			Kind: v1alpha1.DriftSpecMismatch, Field: "resources.memory", Desired: fmt.Sprint(memory.Value()), Actual: fmt.Sprint(512 << 20),
			Action: "update the container in place",
		})
		plan.Actions = append(plan.Actions, v1alpha1.PlannedAction{Action: v1alpha1.ActionUpdate, Message: "update resources of container 0123456789ab"})
	}
	plan.InSync = len(plan.Actions) == 0
	return plan, nil
}

// records are those of a server, seen by nobody but the test.
func records(t *testing.T, server *apiservertest.Server, resource string) dynamic.NamespaceableResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(server.Config())
	require.NoError(t, err)
	return client.Resource(v1alpha1.GroupVersion.WithResource(resource))
}

// report writes the status of an object as the manager would.
func report(t *testing.T, objects dynamic.ResourceInterface, name string, status any) {
	t.Helper()
	told, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	require.NoError(t, err)
	object, err := objects.Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	object.Object["status"] = told
	_, err = objects.UpdateStatus(t.Context(), object, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// engineReport is a DriftReport with such a status.
func engineReport(t *testing.T, server *apiservertest.Server, name string, status *v1alpha1.DriftReportStatus) {
	t.Helper()
	reports := records(t, server, "driftreports")
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DriftReport"))
	object.SetName(name)
	_, err := reports.Create(t.Context(), object, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = reports.Delete(context.Background(), name, metav1.DeleteOptions{}) }) // the server may be gone
	report(t, reports, name, status)
}

// unreachable is the kubeconfig of a manager that is not there.
func unreachable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	kubeconfig(t, path, "https://127.0.0.1:1", nil)
	return path
}
