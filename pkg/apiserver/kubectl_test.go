package apiserver

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func testKubectl(t *testing.T, a *api) {
	ns := a.namespace("story")
	chess := manifest(t, game("chess"))

	require.Contains(t, a.kubectl(chess, "apply", "-n", ns, "-f", "-"), "chess created")
	require.Contains(t, a.kubectl(chess, "apply", "-n", ns, "-f", "-"), "chess unchanged")
	require.Contains(t, a.kubectl(manifest(t, game("go")), "apply", "-n", ns, "--server-side", "-f", "-"), "go serverside-applied")

	table := a.kubectl("", "get", "gr", "-n", ns)
	require.Regexp(t, `NAME +STATE +PHASE +READY +IMAGE +RESTARTS +ENDPOINT +AGE`, table)
	require.Regexp(t, `chess +Running .*galaxy/demo-game:1.0.0`, table)
	require.Regexp(t, `AGE +CONTAINER +ENGINE +REASON`, a.kubectl("", "get", "gr", "-n", ns, "-o", "wide"))
	require.Equal(t, "512Mi", a.kubectl("", "get", "gr", "chess", "-n", ns, "-o", "jsonpath={.spec.resources.memory}"), "defaults apply")

	require.Contains(t, a.kubectl("", "get", "all", "-n", ns), "chess")

	newer := strings.Replace(chess, "1.0.0", "1.0.1", 1)
	diff, code := a.tryKubectl(newer, "diff", "-n", ns, "-f", "-")
	require.Equal(t, 1, code, "a difference is exit code 1: %s", diff)
	require.Contains(t, diff, "+  image: galaxy/demo-game:1.0.1")
	for _, apply := range [][]string{{"apply"}, {"apply", "--server-side", "--force-conflicts"}} {
		refusal, code := a.tryKubectl(strings.Replace(chess, "1.0.0", "2.0.0", 1), append(apply, "-n", ns, "-f", "-")...)
		require.Equal(t, 1, code, "an image beyond the update policy: %s", refusal)
		require.Contains(t, refusal, "from galaxy/demo-game:1.0.0 to galaxy/demo-game:2.0.0 is further than update.policy Patch goes")
	}

	a.kubectl("", "patch", "gr", "chess", "-n", ns, "--type=merge", "-p", `{"spec":{"state":"Stopped"}}`)
	require.Contains(t, a.kubectl("", "get", "gr", "chess", "-n", ns), "Stopped")

	a.recordEvent(ns, "chess", "ContainerStopped")
	require.Regexp(t, `Events:(.|\n)*Normal +ContainerStopped .* manager +it happened`, a.kubectl("", "describe", "gr", "chess", "-n", ns))
	require.Regexp(t, `Normal +ContainerStopped +gameruntime/chess +it happened`, a.kubectl("", "get", "events", "-n", ns))
	require.Contains(t, a.kubectl("", "events", "-n", ns, "--for", "gr/chess"), "ContainerStopped")

	require.Contains(t, a.kubectl("", "delete", "gr", "--all", "-n", ns), `"chess" deleted`)
	require.Contains(t, a.kubectl("", "get", "gr", "-n", ns), "No resources found")
}

// recordEvent writes an Event about a game, as a controller would.
func (a *api) recordEvent(namespace, name, reason string) {
	a.t.Helper()
	record, err := a.games(namespace).Get(a.t.Context(), name, metav1.GetOptions{})
	require.NoError(a.t, err)
	now := metav1.Now()
	_, err = a.client.CoreV1().Events(namespace).Create(a.t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: record.GetAPIVersion(), Kind: record.GetKind(), Namespace: namespace, Name: name, UID: record.GetUID(),
		},
		Type: corev1.EventTypeNormal, Reason: reason, Message: "it happened",
		Source: corev1.EventSource{Component: "manager"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
	require.NoError(a.t, err)
}

func testKubectlDiscovery(t *testing.T, a *api) {
	// The exit code tells the skew to kubectl's own version; the library has none.
	version, _ := a.tryKubectl("", "version")
	require.Contains(t, version, "+runtime-manager.v1.2.3")

	resources := a.kubectl("", "api-resources")
	for _, line := range []string{
		`gameruntimes +gr +runtime.galaxy.io/v1alpha1 +true +GameRuntime`,
		`namespaces +ns +v1 +false +Namespace`,
		`events +ev +v1 +true +Event`,
		`events +ev +events.k8s.io/v1 +true +Event`,
		`leases +coordination.k8s.io/v1 +true +Lease`,
	} {
		require.Regexp(t, line, resources)
	}
	for path, text := range map[string]string{
		"gr.spec.probes":       "liveness",
		"gr.status.conditions": "observedGeneration",
		"ns.status.phase":      "current lifecycle phase",
		"ev.involvedObject":    "The object that this event is about",
		"lease.spec":           "holderIdentity",
	} {
		require.Contains(t, a.kubectl("", "explain", path), text, path)
	}
	require.Regexp(t, `NAME +STATUS +AGE\ndefault +Active`, a.kubectl("", "get", "ns", "default"))
	require.Contains(t, a.kubectl("", "auth", "whoami"), GroupAdmins)
	require.Contains(t, a.kubectl("", "auth", "can-i", "delete", "gr"), "yes")
}

func testKubectlWatch(t *testing.T, a *api) {
	ns := a.namespace("watching")
	records := a.games(ns)
	created, err := records.Create(t.Context(), game("chess"), metav1.CreateOptions{})
	require.NoError(t, err)
	changes, err := records.Watch(t.Context(), metav1.ListOptions{ResourceVersion: created.GetResourceVersion()})
	require.NoError(t, err)
	defer changes.Stop()

	ready := `{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Ready","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
	_, err = records.Patch(t.Context(), "chess", types.MergePatchType, []byte(ready), metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	require.Contains(t, a.kubectl("", "wait", "gr/chess", "-n", ns, "--for=condition=Ready", "--timeout=10s"), "condition met")
	a.kubectl("", "delete", "gr", "chess", "-n", ns)

	require.EqualValues(t, "MODIFIED", (<-changes.ResultChan()).Type)
	require.EqualValues(t, "DELETED", (<-changes.ResultChan()).Type)
}
