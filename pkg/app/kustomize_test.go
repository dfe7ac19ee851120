package app

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// manifests are what config/default comes to. A field that its kind does not have
// fails the test.
type manifests struct {
	deployments []*appsv1.Deployment
	definitions []*apiextensionsv1.CustomResourceDefinition
	accounts    []*corev1.ServiceAccount
	roles       map[string][]rbacv1.PolicyRule // by where they apply ("" is everywhere) and name
	bound       map[string]string              // roles by the same key, to the account's namespace/name
}

func kustomized(t *testing.T) manifests {
	t.Helper()
	all, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../config/default")
	require.NoError(t, err)
	scheme := newScheme()
	require.NoError(t, apiextensionsv1.AddToScheme(scheme))
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	m := manifests{roles: map[string][]rbacv1.PolicyRule{}, bound: map[string]string{}}
	for _, resource := range all.Resources() {
		text, err := resource.AsYAML()
		require.NoError(t, err)
		object, err := runtime.Decode(strict, text)
		require.NoError(t, err, "%s", resource.CurId())
		m.keep(t, object)
	}
	return m
}

func (m *manifests) keep(t *testing.T, object runtime.Object) {
	switch o := object.(type) {
	case *appsv1.Deployment:
		m.deployments = append(m.deployments, o)
	case *apiextensionsv1.CustomResourceDefinition:
		m.definitions = append(m.definitions, o)
	case *corev1.ServiceAccount:
		m.accounts = append(m.accounts, o)
	case *rbacv1.ClusterRole:
		m.roles["/"+o.Name] = o.Rules
	case *rbacv1.Role:
		m.roles[o.Namespace+"/"+o.Name] = o.Rules
	case *rbacv1.ClusterRoleBinding:
		m.bound["/"+o.RoleRef.Name] = o.Subjects[0].Namespace + "/" + o.Subjects[0].Name
	case *rbacv1.RoleBinding:
		m.bound[o.Namespace+"/"+o.RoleRef.Name] = o.Subjects[0].Namespace + "/" + o.Subjects[0].Name
	case *corev1.Namespace:
	default:
		t.Fatalf("nobody looks at a %T", object)
	}
}

// rules are what the managers' account may do, by the namespace that they apply in.
func (m *manifests) rules() map[string][]rbacv1.PolicyRule {
	rules := map[string][]rbacv1.PolicyRule{}
	for role := range m.bound {
		namespace, _, _ := strings.Cut(role, "/")
		rules[namespace] = append(rules[namespace], m.roles[role]...)
	}
	return rules
}

func TestKustomize(t *testing.T) {
	m := kustomized(t)
	require.Len(t, m.definitions, 2)
	require.Len(t, m.accounts, 1)
	account := m.accounts[0].Namespace + "/" + m.accounts[0].Name
	require.Equal(t, map[string]string{"/runtime-manager": account, "default/runtime-manager": account}, m.bound)
	for role := range m.bound {
		require.NotEmpty(t, m.roles[role], role)
	}
	require.Len(t, m.deployments, 2)
	first, standby := m.deployments[0], m.deployments[1]
	for _, d := range m.deployments {
		t.Run(d.Name, func(t *testing.T) { requireRuns(t, d, account) })
	}
	selector := labels.SelectorFromSet(first.Spec.Selector.MatchLabels)
	require.True(t, selector.Matches(labels.Set(first.Spec.Template.Labels)))
	require.False(t, selector.Matches(labels.Set(standby.Spec.Template.Labels)), "a Deployment's pods are its own")
	require.NotEqual(t, metricsPort(t, first), metricsPort(t, standby), "they share the node's network")
}

// requireRuns holds a Deployment to what the manager knows and needs.
func requireRuns(t *testing.T, d *appsv1.Deployment, account string) {
	pod := d.Spec.Template.Spec
	require.Equal(t, account, d.Namespace+"/"+pod.ServiceAccountName)
	require.Greater(t, *pod.TerminationGracePeriodSeconds, int64(loopStopTimeout.Seconds()))
	require.True(t, *pod.SecurityContext.RunAsNonRoot)
	require.Len(t, pod.Containers, 1)
	c := pod.Containers[0]
	require.Equal(t, "galaxy/runtime-manager:latest", c.Image)
	require.Equal(t, []string{"serve"}, c.Args)
	require.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
	require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)

	values := map[string]string{}
	for _, variable := range c.Env {
		if values[variable.Name] = variable.Value; variable.ValueFrom != nil {
			values[variable.Name] = "set by the secret"
		}
	}
	config := DefaultConfig()
	for _, flags := range config.Flags().FlagSets {
		require.NoError(t, FromEnvironment(flags, func(name string) (string, bool) {
			value, ok := values[name]
			delete(values, name)
			return value, ok
		}))
	}
	require.Empty(t, values, "no flag reads it")
	require.Equal(t, inCluster, config.Kubeconfig)
	require.NotEmpty(t, config.DatabaseURL, "there is no PostgreSQL in the image")

	mounted := map[string]bool{}
	for _, mount := range c.VolumeMounts {
		mounted[mount.MountPath] = true
	}
	for _, needed := range []string{config.DataDir, config.StateRoot, strings.TrimPrefix(config.DockerHost, "unix://")} {
		require.True(t, mounted[needed], needed)
	}
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		require.Equal(t, config.MetricsAddress, net.JoinHostPort(probe.HTTPGet.Host, fmt.Sprint(probe.HTTPGet.Port.IntValue())))
	}
}

func metricsPort(t *testing.T, d *appsv1.Deployment) int {
	t.Helper()
	return d.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Port.IntValue()
}
