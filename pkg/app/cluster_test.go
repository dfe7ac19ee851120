//go:build integration

package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// cluster is an API that is not the manager's own, and lets it do what the account
// of config/default may, and nothing else.
type cluster struct {
	rules map[string][]rbacv1.PolicyRule
	api   http.Handler
	info  request.RequestInfoFactory

	mu      sync.Mutex
	refused []string
}

// startCluster returns a kubeconfig of the manager's account, and a client that may
// do everything.
func startCluster(t *testing.T) (c *cluster, kubeconfig string, admin client.WithWatch) {
	server := apiservertest.Start(t)
	address, err := url.Parse(server.Config().Host)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(address)
	proxy.Transport, err = rest.TransportFor(server.Config())
	require.NoError(t, err)
	proxy.FlushInterval = -1 // watches
	m := kustomized(t)
	c = &cluster{
		rules: m.rules(), api: proxy,
		info: request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")},
	}
	front := httptest.NewServer(c)
	t.Cleanup(front.CloseClientConnections) // before it waits for those that watch
	admin, err = client.NewWithWatch(server.Config(), client.Options{Scheme: newScheme()})
	require.NoError(t, err)
	return c, kubeconfigOf(t, front.URL), admin
}

func kubeconfigOf(t *testing.T, server string) (path string) {
	config := clientcmdapi.NewConfig()
	config.Clusters["there"] = &clientcmdapi.Cluster{Server: server}
	config.Contexts["there"] = &clientcmdapi.Context{Cluster: "there"}
	config.CurrentContext = "there"
	path = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, path))
	return path
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, err := c.info.NewRequestInfo(r)
	if err == nil && c.allows(asked) {
		c.api.ServeHTTP(w, r)
		return
	}
	c.mu.Lock()
	c.refused = append(c.refused, r.Method+" "+r.URL.Path)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden})
}

// allows is what a cluster's own authorizer says: who is known may look around.
func (c *cluster) allows(r *request.RequestInfo) bool {
	resource := r.Resource
	if r.Subresource != "" {
		resource += "/" + r.Subresource
	}
	return !r.IsResourceRequest || slices.ContainsFunc(slices.Concat(c.rules[""], c.rules[r.Namespace]), func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.Verbs, r.Verb) && slices.Contains(rule.APIGroups, r.APIGroup) && slices.Contains(rule.Resources, resource) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.Name))
	})
}

// TestRecordsOfACluster lets a manager keep the games of an API that is none of its
// own, with the rights that config/rbac gives it there.
func TestRecordsOfACluster(t *testing.T) {
	c, kubeconfig, admin := startCluster(t)
	m := startManager(t, func(config *Config) {
		config.Kubeconfig, config.DatabaseURL, config.MetricsAddress = kubeconfig, postgrestest.URL(t), "127.0.0.1:0"
	})
	m.WithWatch = admin
	m.create(game("chess"))
	g := m.awaitReady("chess")
	require.Equal(t, []string{g.Status.Container.ID}, m.containers("chess"))
	require.NoFileExists(t, filepath.Join(m.config.DataDir, "kubeconfig"))

	ask := func(on, path string) (status int) {
		answer, err := http.Get("http://" + on + path)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode
	}
	m.eventually("the manager is ready", func() bool { return ask(m.app.telemetry.Addr().String(), "/readyz") == http.StatusOK })
	require.Equal(t, http.StatusOK, ask(m.app.services.Addr().String(), "/api/v1/internal/runtimes/chess"), "services are served")

	dockerCLI(t, "kill", g.Status.Container.ID)
	m.await("chess", "a restart", restartedTo(1))
	m.eventually("its report", func() bool {
		var reports v1alpha1.DriftReportList
		return m.List(t.Context(), &reports) == nil && len(reports.Items) == 1
	})
	require.NoError(t, m.Delete(t.Context(), game("chess")))
	m.awaitGone("chess")
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.refused, "config/rbac is enough")
}

func TestClusterThatKnowsNoGames(t *testing.T) {
	empty := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(empty.Close)
	kubeconfig := kubeconfigOf(t, empty.URL)
	app, err := New(testConfig(t, func(config *Config) { config.Kubeconfig, config.DatabaseURL = kubeconfig, postgrestest.URL(t) }), logr.Discard())
	require.NoError(t, err)
	require.ErrorContains(t, app.Run(t.Context()), "install the definitions with 'kubectl apply --server-side -k config/crd'")

	require.NoError(t, os.Remove(kubeconfig))
	_, err = New(testConfig(t, func(config *Config) { config.Kubeconfig = kubeconfig }), logr.Discard())
	require.ErrorContains(t, err, "--kubeconfig: ")
	_, err = New(testConfig(t, func(config *Config) { config.Kubeconfig = inCluster }), logr.Discard())
	require.ErrorContains(t, err, "--kubeconfig: unable to load in-cluster configuration")
}
