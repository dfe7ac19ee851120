package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

// hold is a finalizer of a test's own.
const hold = "test.galaxy.io/hold"

// ownerOf makes a reference to an object, as its dependents carry it.
func ownerOf(o metav1.Object, apiVersion, kind string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: o.GetName(), UID: o.GetUID()}
}

func ownerGame(o *unstructured.Unstructured) metav1.OwnerReference {
	return ownerOf(o, o.GetAPIVersion(), o.GetKind())
}

func blocking(r metav1.OwnerReference) metav1.OwnerReference {
	r.BlockOwnerDeletion = ptr.To(true)
	return r
}

// own creates a game with some owners.
func (a *api) own(namespace, name string, owners ...metav1.OwnerReference) *unstructured.Unstructured {
	a.t.Helper()
	g := game(name)
	g.SetOwnerReferences(owners)
	created, err := a.games(namespace).Create(a.t.Context(), g, metav1.CreateOptions{})
	require.NoError(a.t, err)
	return created
}

func (a *api) patchGame(namespace, name, patch string, args ...any) {
	a.t.Helper()
	_, err := a.games(namespace).Patch(a.t.Context(), name, types.MergePatchType, fmt.Appendf(nil, patch, args...), metav1.PatchOptions{})
	require.NoError(a.t, err)
}

// deleteGame deletes with a policy; the API answers before dependents are looked at.
func (a *api) deleteGame(namespace, name string, policy metav1.DeletionPropagation) {
	a.t.Helper()
	require.NoError(a.t, a.games(namespace).Delete(a.t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &policy}))
}

// remaining are games by their names.
type remaining map[string]*unstructured.Unstructured

// remain waits until exactly some games are left in a namespace.
func (a *api) remain(namespace string, names ...string) {
	a.t.Helper()
	a.remainAs(namespace, names, func(*assert.CollectT, remaining) {})
}

// remainAs waits until they are as a check wants them to be.
func (a *api) remainAs(namespace string, names []string, check func(*assert.CollectT, remaining)) {
	a.t.Helper()
	require.EventuallyWithT(a.t, func(c *assert.CollectT) {
		list, err := a.games(namespace).List(a.t.Context(), metav1.ListOptions{})
		require.NoError(c, err)
		left, found := remaining{}, []string{}
		for i := range list.Items {
			found = append(found, list.Items[i].GetName())
			left[list.Items[i].GetName()] = &list.Items[i]
		}
		require.ElementsMatch(c, names, found)
		check(c, left)
	}, patience, 20*time.Millisecond)
}

func testGarbageCollection(t *testing.T, a *api) {
	for name, run := range map[string]func(*testing.T, *api, string){
		"background":                      testBackground,
		"another owner":                   testAnotherOwner,
		"foreground":                      testForeground,
		"orphan":                          testOrphan,
		"owners that never were":          testAbsentOwners,
		"an owner in no namespace":        testClusterScopedOwner,
		"an owner that cannot be":         testNamespacedOwnerOfClusterScoped,
		"changed since it was judged":     testStaleJudgement,
		"kubectl":                         testKubectlCascade,
		"a text that jsonb cannot hold":   testUnreadableDependent,
		"a kind that is not served":       testUnservedOwner,
		"a cycle in the foreground":       testCycle,
		"a cycle that is deleted at once": testCycleDeletedAtOnce,
	} {
		ns := a.namespace("garbage-" + strings.ReplaceAll(name, " ", "-"))
		t.Run(name, func(t *testing.T) { run(t, a.in(t), ns) })
	}
}

func testBackground(t *testing.T, a *api, ns string) {
	owner := a.own(ns, "owner")
	child := a.own(ns, "child", ownerGame(owner))
	a.own(ns, "grandchild", ownerGame(child))
	a.own(ns, "stranger")
	meta := metav1.ObjectMeta{Name: "child", Namespace: ns, OwnerReferences: []metav1.OwnerReference{ownerGame(owner)}}
	_, err := a.client.CoordinationV1().Leases(ns).Create(t.Context(), &coordinationv1.Lease{ObjectMeta: meta}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = a.client.CoreV1().Events(ns).Create(t.Context(), &corev1.Event{ObjectMeta: meta, InvolvedObject: corev1.ObjectReference{Namespace: ns}}, metav1.CreateOptions{})
	require.NoError(t, err)

	a.deleteGame(ns, "owner", metav1.DeletePropagationBackground)
	a.remain(ns, "stranger")
	require.Eventually(t, func() bool {
		_, noLease := a.client.CoordinationV1().Leases(ns).Get(t.Context(), "child", metav1.GetOptions{})
		_, noEvent := a.client.CoreV1().Events(ns).Get(t.Context(), "child", metav1.GetOptions{})
		return apierrors.IsNotFound(noLease) && apierrors.IsNotFound(noEvent)
	}, patience, 20*time.Millisecond, "built-in kinds are collected as well")
}

func testAnotherOwner(t *testing.T, a *api, ns string) {
	first, second := a.own(ns, "first"), a.own(ns, "second")
	a.own(ns, "child", ownerGame(first), ownerGame(second))

	a.deleteGame(ns, "first", metav1.DeletePropagationBackground)
	a.remainAs(ns, []string{"second", "child"}, func(c *assert.CollectT, left remaining) {
		require.Equal(c, []metav1.OwnerReference{ownerGame(second)}, left["child"].GetOwnerReferences(), "only the dangling reference goes")
	})
	a.deleteGame(ns, "second", metav1.DeletePropagationBackground)
	a.remain(ns)
}

func testForeground(t *testing.T, a *api, ns string) {
	owner := a.own(ns, "owner")
	child := a.own(ns, "child", blocking(ownerGame(owner)))
	a.own(ns, "grandchild", blocking(ownerGame(child)))
	a.own(ns, "loose", ownerGame(owner))
	other := a.own(ns, "other")
	a.own(ns, "shared", blocking(ownerGame(owner)), ownerGame(other))
	for _, name := range []string{"grandchild", "loose"} {
		a.patchGame(ns, name, `{"metadata":{"finalizers":[%q]}}`, hold)
	}
	list, err := a.games(ns).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	changes, err := a.games(ns).Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	require.NoError(t, err)
	defer changes.Stop()

	a.deleteGame(ns, "owner", metav1.DeletePropagationForeground)
	a.remainAs(ns, []string{"owner", "child", "grandchild", "loose", "other", "shared"}, func(c *assert.CollectT, left remaining) {
		for _, name := range []string{"owner", "child", "grandchild", "loose"} {
			require.NotNil(c, left[name].GetDeletionTimestamp(), "%s is deleted, and waits", name)
		}
		require.Equal(c, []metav1.OwnerReference{ownerGame(other)}, left["shared"].GetOwnerReferences())
	})
	a.patchGame(ns, "grandchild", `{"metadata":{"finalizers":null}}`)
	a.remain(ns, "loose", "other", "shared")
	a.patchGame(ns, "loose", `{"metadata":{"finalizers":null}}`)
	a.remain(ns, "other", "shared")

	var order []string
	for len(order) < 4 {
		if e := <-changes.ResultChan(); e.Type == "DELETED" {
			order = append(order, e.Object.(metav1.Object).GetName())
		}
	}
	require.Equal(t, []string{"grandchild", "child", "owner", "loose"}, order, "what blocks goes first")
}

func testOrphan(_ *testing.T, a *api, ns string) {
	owner, other := a.own(ns, "owner"), a.own(ns, "other")
	a.own(ns, "child", ownerGame(owner))
	a.own(ns, "shared", blocking(ownerGame(owner)), ownerGame(other))

	a.deleteGame(ns, "owner", metav1.DeletePropagationOrphan)
	a.remainAs(ns, []string{"other", "child", "shared"}, func(c *assert.CollectT, left remaining) {
		require.Empty(c, left["child"].GetOwnerReferences())
		require.Equal(c, []metav1.OwnerReference{ownerGame(other)}, left["shared"].GetOwnerReferences())
	})
}

func testAbsentOwners(t *testing.T, a *api, ns string) {
	owner := a.own(ns, "owner")
	never := ownerGame(owner)
	never.Name = "never"
	a.own(ns, "of-nobody", never)
	former := ownerGame(owner)
	former.UID = "8d1d2dc2-6e5e-4a5c-9d0c-3f1d0f7f9a11"
	a.own(ns, "of-a-former-one", former)
	a.own(ns, "changed")
	elsewhere := a.namespace(ns + "-elsewhere")
	a.own(elsewhere, "of-another-namespace", ownerGame(owner))
	a.own(ns, "child", ownerGame(owner))

	a.patchGame(ns, "changed", `{"metadata":{"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":"owner","uid":%q}]}}`,
		former.APIVersion, former.Kind, former.UID)
	a.remain(ns, "owner", "child")
	a.remain(elsewhere)
}

func testClusterScopedOwner(t *testing.T, a *api, ns string) {
	arena, err := a.client.CoreV1().Namespaces().Get(t.Context(), a.namespace(ns+"-arena"), metav1.GetOptions{})
	require.NoError(t, err)
	a.own(ns, "child", ownerOf(arena, "v1", "Namespace"))
	tenant := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns + "-tenant", OwnerReferences: []metav1.OwnerReference{ownerOf(arena, "v1", "Namespace")}}}
	_, err = a.client.CoreV1().Namespaces().Create(t.Context(), tenant, metav1.CreateOptions{})
	require.NoError(t, err)
	a.own(tenant.Name, "inhabitant")

	require.NoError(t, a.client.CoreV1().Namespaces().Delete(t.Context(), arena.Name, metav1.DeleteOptions{}))
	a.remain(ns)
	require.Eventually(t, func() bool {
		_, err := a.client.CoreV1().Namespaces().Get(t.Context(), tenant.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, patience, 20*time.Millisecond, "a namespace is collected with what is in it")
}

// What has no namespace cannot say in which one its owner is: nobody knows
// whether that is there.
func testNamespacedOwnerOfClusterScoped(t *testing.T, a *api, ns string) {
	absent := metav1.OwnerReference{APIVersion: "runtime.galaxy.io/v1alpha1", Kind: "GameRuntime", Name: "absent", UID: "u"}
	tenant, err := a.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: ns + "-tenant", OwnerReferences: []metav1.OwnerReference{absent}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = a.collector.collect(t.Context(), corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: tenant.Name, UID: tenant.UID})
	require.NoError(t, err)
	tenant, err = a.client.CoreV1().Namespaces().Get(t.Context(), tenant.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, tenant.DeletionTimestamp)
}

// Nothing is written to an object that has changed since it was read.
func testStaleJudgement(t *testing.T, a *api, ns string) {
	judged := a.own(ns, "chess")
	o, err := a.collector.find(t.Context(), corev1.ObjectReference{
		APIVersion: judged.GetAPIVersion(), Kind: judged.GetKind(), Namespace: ns, Name: "chess", UID: judged.GetUID(),
	})
	require.NoError(t, err)
	a.patchGame(ns, "chess", `{"metadata":{"labels":{"changed":"yes"}}}`)

	requireConflict := func(err error) {
		t.Helper()
		require.True(t, apierrors.IsConflict(err), "%v", err)
	}
	requireConflict(a.collector.delete(t.Context(), o, false))
	requireConflict(o.patch(t.Context(), map[string]any{"ownerReferences": nil}))
	a.remain(ns, "chess")
}

func testKubectlCascade(t *testing.T, a *api, ns string) {
	for _, cascade := range []string{"background", "foreground", "orphan"} {
		owner := a.own(ns, cascade)
		a.own(ns, "child-of-"+cascade, blocking(ownerGame(owner)))
		require.Contains(t, a.kubectl("", "delete", "gr", cascade, "-n", ns, "--cascade="+cascade), "deleted")
		_, err := a.games(ns).Get(t.Context(), "child-of-"+cascade, metav1.GetOptions{})
		if cascade == "foreground" {
			require.True(t, apierrors.IsNotFound(err), "kubectl waits for the owner, and the owner for its dependents: %v", err)
		}
	}
	a.remainAs(ns, []string{"child-of-orphan"}, func(c *assert.CollectT, left remaining) {
		require.Empty(c, left["child-of-orphan"].GetOwnerReferences())
	})
}

func testUnreadableDependent(_ *testing.T, a *api, ns string) {
	owner := a.own(ns, "owner")
	child := game("child")
	child.SetOwnerReferences([]metav1.OwnerReference{blocking(ownerGame(owner))})
	child.SetAnnotations(map[string]string{"last-words": "a\x00b"})
	child.SetFinalizers([]string{hold})
	_, err := a.games(ns).Create(a.t.Context(), child, metav1.CreateOptions{})
	require.NoError(a.t, err)
	a.deleteGame(ns, "owner", metav1.DeletePropagationForeground)
	a.remainAs(ns, []string{"owner", "child"}, func(c *assert.CollectT, left remaining) {
		require.NotNil(c, left["child"].GetDeletionTimestamp(), "it is found, and waited for")
	})
	a.patchGame(ns, "child", `{"metadata":{"finalizers":null}}`)
	a.remain(ns)
}

func testUnservedOwner(t *testing.T, a *api, ns string) {
	child := a.own(ns, "child", metav1.OwnerReference{APIVersion: "test.galaxy.io/v1", Kind: "Arena", Name: "north", UID: "u"})
	_, err := a.collector.collect(t.Context(), referenceTo(&metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: child.GetAPIVersion(), Kind: child.GetKind()},
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "child", UID: child.GetUID()},
	}))
	require.ErrorIs(t, err, errNotServed)
	a.remain(ns, "child")

	a.kubectl(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: arenas.test.galaxy.io}
spec:
  group: test.galaxy.io
  scope: Namespaced
  names: {kind: Arena, plural: arenas, singular: arena}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`, "apply", "-f", "-")
	a.remain(ns) // now that its owner's kind is known, so is its absence
	a.kubectl("", "delete", "crd", "arenas.test.galaxy.io")
}

// ring makes games that own each other: the last one owns the first.
func (a *api) ring(ns string, names ...string) {
	owner := a.own(ns, names[0])
	first := owner
	for _, name := range names[1:] {
		owner = a.own(ns, name, blocking(ownerGame(owner)))
	}
	r := ownerGame(owner)
	a.patchGame(ns, first.GetName(), `{"metadata":{"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":%q,"uid":%q,"blockOwnerDeletion":true}]}}`,
		r.APIVersion, r.Kind, r.Name, r.UID)
}

func testCycle(_ *testing.T, a *api, ns string) {
	a.ring(ns, "a", "b", "c")
	a.ring(ns, "self")
	a.deleteGame(ns, "b", metav1.DeletePropagationForeground)
	a.deleteGame(ns, "self", metav1.DeletePropagationForeground)
	a.remain(ns)
}

func testCycleDeletedAtOnce(_ *testing.T, a *api, ns string) {
	a.ring(ns, "a", "b")
	for _, name := range []string{"a", "b"} {
		a.patchGame(ns, name, `{"metadata":{"finalizers":["foregroundDeletion"]}}`)
	}
	a.deleteGame(ns, "a", metav1.DeletePropagationForeground)
	a.deleteGame(ns, "b", metav1.DeletePropagationForeground)
	a.remain(ns)
}

// forgetful is a store whose server collects nothing, as one that is killed
// before it could.
type forgetful struct{ *store.Backend }

func (forgetful) FollowOwners(ctx context.Context, _ func(corev1.ObjectReference)) { <-ctx.Done() }

// TestGarbageOutlivesNoRestart leaves work of each kind undone, and lets two
// servers on the database do it, together.
func TestGarbageOutlivesNoRestart(t *testing.T) {
	pool := postgrestest.Schema(t)
	backend := openStore(t, store.Options{Pool: pool})
	first := start(t, forgetful{backend}, t.TempDir(), "127.0.0.1:0", config.CRDs)
	ns := first.namespace("garbage")
	for policy, name := range map[metav1.DeletionPropagation]string{
		metav1.DeletePropagationBackground: "background", metav1.DeletePropagationForeground: "foreground", metav1.DeletePropagationOrphan: "orphan",
	} {
		owner := first.own(ns, name)
		for i := range 20 {
			first.own(ns, fmt.Sprintf("child-%d-of-%s", i, name), blocking(ownerGame(owner)))
		}
		first.deleteGame(ns, name, policy)
	}
	first.own(ns, "of-nobody", metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: "never", UID: "u"})
	list, err := first.games(ns).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, 3*20+2+1, "nothing is collected yet")
	first.stop()

	second := start(t, backend, t.TempDir(), "127.0.0.1:0", config.CRDs)
	third := start(t, openStore(t, store.Options{Pool: pool}), t.TempDir(), "127.0.0.1:0", config.CRDs)
	var orphans []string
	for i := range 20 {
		orphans = append(orphans, fmt.Sprintf("child-%d-of-orphan", i))
	}
	for _, server := range []*api{second, third} {
		server.remainAs(ns, orphans, func(c *assert.CollectT, left remaining) {
			for name, orphan := range left {
				require.Empty(c, orphan.GetOwnerReferences(), name)
			}
		})
	}
}
