//go:build integration

package app

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"galaxy.io/runtime-manager/pkg/apiserver"
)

// known is a client with a certificate for a member of a group, or without one.
func (m *manager) known(user, group string) *http.Client {
	m.t.Helper()
	dir := m.app.config.DataDir
	content, err := apiserver.IssueKubeconfig(apiserver.KubeconfigOptions{Dir: dir, User: "nobody", Groups: []string{"none"}, Expires: time.Hour}, time.Now())
	require.NoError(m.t, err)
	if user != "" {
		content, err = apiserver.IssueKubeconfig(apiserver.KubeconfigOptions{Dir: dir, User: user, Groups: []string{group}, Expires: time.Hour}, time.Now())
		require.NoError(m.t, err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(content)
	require.NoError(m.t, err)
	if user == "" {
		config = rest.AnonymousClientConfig(config)
	}
	client, err := rest.HTTPClientFor(config)
	require.NoError(m.t, err)
	m.t.Cleanup(client.CloseIdleConnections)
	return client
}

// requestOf makes a request to a port of ours, and returns status and body.
func requestOf(t *testing.T, client *http.Client, method, url, body, caller string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if caller != "" {
		request.Header.Set("X-Galaxy-Caller", caller)
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

// Beyond the loopback, REST and metrics are served over TLS to those who are known.
func TestElsewhereEverybodyProvesWhoTheyAre(t *testing.T) {
	m := startManager(t, func(c *Config) { c.RESTAddress, c.MetricsAddress = "0.0.0.0:0", "0.0.0.0:0" })
	port := func(address string) string { return address[strings.LastIndex(address, ":"):] }
	games := "https://127.0.0.1" + port(m.app.services.Addr().String()) + "/api/v1/internal/runtimes"
	metrics := "https://127.0.0.1" + port(m.app.telemetry.Addr().String())
	nobody, stranger := m.known("", ""), m.known("stranger", "galaxy:strangers")
	viewer, writer := m.known("viewer", apiserver.GroupViewers), m.known("lobby", apiserver.GroupWriters)

	for name, c := range map[string]struct {
		client            *http.Client
		method, url, says string
		caller            string
		status            int
	}{
		"nobody lists":               {nobody, "GET", games, `"unauthenticated"`, "lobby", 401},
		"a stranger lists":           {stranger, "GET", games, `"forbidden"`, "", 403},
		"a viewer lists":             {viewer, "GET", games, `"success"`, "", 200},
		"a viewer stops":             {viewer, "POST", games + "/none/stop", `"forbidden"`, "", 403},
		"a writer stops":             {writer, "POST", games + "/none/stop", `"not_found"`, "", 404},
		"a writer as somebody else":  {writer, "POST", games + "/none/stop", `"forbidden"`, "game-master", 403},
		"nobody reads metrics":       {nobody, "GET", metrics + "/metrics", "needed", "", 401},
		"a stranger reads metrics":   {stranger, "GET", metrics + "/metrics", "may not", "", 403},
		"a viewer reads metrics":     {viewer, "GET", metrics + "/metrics", "runtime_manager_", "", 200},
		"nobody asks for health":     {nobody, "GET", metrics + "/livez", "", "", 200},
		"nobody asks for its causes": {nobody, "GET", metrics + "/readyz/postgres", "needed", "", 401},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := requestOf(t, c.client, c.method, c.url, "", c.caller)
			require.Equal(t, c.status, status, body)
			require.Contains(t, body, c.says)
		})
	}

	status, body := requestOf(t, writer, "POST", games+"/proven/start?wait=1m", `{"image":"`+demoImage+`"}`, "")
	require.Equal(t, http.StatusOK, status, body)
	m.awaitHistory("proven", "create Succeeded galaxy-lobby")

	for _, url := range []string{games, metrics + "/metrics"} {
		status, _ := requestOf(t, http.DefaultClient, "GET", strings.Replace(url, "https:", "http:", 1), "", "")
		require.Equal(t, http.StatusBadRequest, status, "in the clear nothing is served")
		old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}}
		_, err := old.Get(url)
		require.ErrorContains(t, err, "remote error: tls: ")
	}
}

// Whom a cluster knows we cannot tell: there nothing is served beyond the loopback.
func TestOnAClusterNothingIsServedElsewhere(t *testing.T) {
	kubeconfig := kubeconfigOf(t, "https://127.0.0.1:1")
	for flag, change := range map[string]func(*Config){
		"--rest-address":    func(c *Config) { c.RESTAddress = "0.0.0.0:0" },
		"--metrics-address": func(c *Config) { c.MetricsAddress = "[::]:0" },
	} {
		_, err := New(testConfig(t, func(c *Config) { c.Kubeconfig = kubeconfig; change(c) }), logr.Discard())
		require.ErrorContains(t, err, flag+": with --kubeconfig it must be on the loopback")
	}
}

func TestCertificateFlags(t *testing.T) {
	for value, wrong := range map[string]bool{
		"games.example.org": false, "10.0.0.7": false, "2001:db8::1": false, "*.example.org": false, "host:7443": true, "a b": true, "": true,
	} {
		err := Config{TLSNames: []string{value}}.checkTLS()
		require.Equal(t, wrong, err != nil, "%q: %v", value, err)
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(policy, []byte("kind: Nothing"), 0o600))
	c := defaultAuditConfig()
	require.NoError(t, c.check())
	c.PolicyFile = policy
	require.ErrorContains(t, c.check(), "needs --audit-log-path")
	c.LogPath = "-"
	require.ErrorContains(t, c.check(), "--audit-policy-file: reading the audit policy")
	c.PolicyFile = filepath.Join(t.TempDir(), "none")
	require.ErrorContains(t, c.check(), "--audit-policy-file: open")
	c.PolicyFile, c.LogMaxSize = "", 0
	require.ErrorContains(t, c.check(), "--audit-log-maxsize")
}
