package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

// people are those who ask: one of each role, and one whom the server knows and who
// has none. Half of them come with certificates, the others with tokens.
var people = []struct {
	name, group string
	token       string
}{
	{name: "admin", group: GroupAdmins},
	{name: "writer", group: GroupWriters, token: "token-of-the-writer"},
	{name: "viewer", group: GroupViewers, token: "token-of-the-viewer"},
	{name: "controller", group: GroupControllers},
	{name: "stranger", group: "galaxy:strangers", token: "token-of-the-stranger"},
}

// access is who may do what, written down a second time: with each verb of each
// resource that the server has, and some that it may have, stand those who may.
var access = []struct{ resource, verbs, who string }{
	{"gameruntimes.runtime.galaxy.io", "get list watch", "admin writer viewer controller"},
	{"gameruntimes.runtime.galaxy.io", "create update patch delete", "admin writer controller"},
	{"gameruntimes.runtime.galaxy.io", "deletecollection", "admin"},
	{"gameruntimes/status.runtime.galaxy.io", "get", "admin writer viewer controller"},
	{"gameruntimes/status.runtime.galaxy.io", "update patch", "admin controller"},
	{"gameruntimes/finalizers.runtime.galaxy.io", "update", "admin controller"},
	{"gameruntimes/history.runtime.galaxy.io", "get", "admin writer viewer"},
	{"gameruntimes/log.runtime.galaxy.io", "get", "admin writer viewer"},
	{"gameruntimes/stats.runtime.galaxy.io", "get", "admin writer viewer"},
	{"gameruntimes/plan.runtime.galaxy.io", "create", "admin writer viewer"},
	{"gameruntimes/exec.runtime.galaxy.io", "get create", "admin"},
	{"driftreports.runtime.galaxy.io", "get list watch", "admin writer viewer controller"},
	{"driftreports.runtime.galaxy.io", "create", "admin controller"},
	{"driftreports.runtime.galaxy.io", "update patch delete deletecollection", "admin"},
	{"driftreports/status.runtime.galaxy.io", "get", "admin writer viewer"},
	{"driftreports/status.runtime.galaxy.io", "update", "admin controller"},
	{"driftreports/status.runtime.galaxy.io", "patch", "admin"},
	{"namespaces.", "get list watch", "admin writer viewer controller"},
	{"namespaces.", "create update patch delete deletecollection", "admin"},
	{"namespaces/status.", "get update patch", "admin"},
	{"namespaces/finalize.", "update", "admin"},
	{"events.", "get list watch", "admin writer viewer"},
	{"events.", "create update patch delete deletecollection", "admin"},
	{"events.events.k8s.io", "get list watch", "admin writer viewer"},
	{"events.events.k8s.io", "create patch", "admin controller"},
	{"events.events.k8s.io", "update delete deletecollection", "admin"},
	{"leases.coordination.k8s.io", "get", "admin writer viewer controller"},
	{"leases.coordination.k8s.io", "list watch", "admin writer viewer"},
	{"leases.coordination.k8s.io", "create update", "admin controller"},
	{"leases.coordination.k8s.io", "patch delete deletecollection", "admin"},
	{"customresourcedefinitions.apiextensions.k8s.io", "get list watch create update patch delete deletecollection", "admin"},
	{"customresourcedefinitions/status.apiextensions.k8s.io", "get update patch", "admin"},
	{"selfsubjectreviews.authentication.k8s.io", "create", "admin writer viewer controller stranger"},
	{"selfsubjectaccessreviews.authorization.k8s.io", "create", "admin writer viewer controller stranger"},
	{"selfsubjectrulesreviews.authorization.k8s.io", "create", "admin writer viewer controller stranger"},
	{"users.", "impersonate", "admin"},
	{"groups.", "impersonate", "admin"},
	{"secrets.", "get list", "admin"},
}

// pathAccess is the same for what is no resource, by the beginnings of paths.
var pathAccess = []struct{ paths, who string }{
	{"/healthz /livez /readyz", "admin writer viewer controller stranger nobody"},
	{"/api /api/ /apis /apis/ /openapi/ /version /version/", "admin writer viewer controller stranger"},
	{"/metrics", "admin writer viewer controller"},
	{"/ /healthz/ /livez/ /readyz/ /statusz /flagz /metrics/ /.well-known/", "admin"},
}

// served is a verb of a resource, as the server itself lists it.
type served struct {
	schema.GroupVersion
	resource, verb string // the resource with its subresource
	namespaced     bool
}

func (s served) String() string { return s.verb + " " + s.resource + "." + s.Group }

// request asks for something is asked for that is not there, and with what.
func (s served) request() (method, path, contentType string) {
	path = "/apis/" + s.GroupVersion.String()
	if s.Group == "" {
		path = "/api/" + s.Version
	}
	if s.namespaced {
		path += "/namespaces/default"
	}
	resource, sub, below := strings.Cut(s.resource, "/")
	path += "/" + resource
	if below || slices.Contains([]string{"get", "update", "patch", "delete"}, s.verb) {
		path += "/missing"
	}
	if below {
		path += "/" + sub
	}
	switch s.verb {
	case "watch":
		path += "?watch=true&timeoutSeconds=1"
	case "deletecollection":
		path += "?labelSelector=no=such"
	}
	methods := map[string]string{
		"create": http.MethodPost, "update": http.MethodPut, "patch": http.MethodPatch,
		"delete": http.MethodDelete, "deletecollection": http.MethodDelete,
	}
	if method = methods[s.verb]; method == "" {
		method = http.MethodGet
	}
	if s.verb == "patch" {
		return method, path, "application/merge-patch+json"
	}
	return method, path, "application/json"
}

// TestAccess asks one server, as everybody, for everything.
func TestAccess(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens.csv")
	var lines strings.Builder
	for _, p := range people {
		if p.token != "" {
			fmt.Fprintf(&lines, "%s,%s,,\"%s\"\n", p.token, p.name, p.group)
		}
	}
	require.NoError(t, os.WriteFile(tokens, []byte(lines.String()), 0o600))
	issuer := newTestIssuer(t)
	issuer.server.StartTLS()
	server := start(t, openStore(t, store.Options{Pool: postgrestest.Schema(t)}), t.TempDir(), "127.0.0.1:0", config.CRDs,
		func(o *Options) { o.TokenFile, o.AuthenticationConfig = tokens, issuer.configFile() })
	for name, run := range map[string]func(*testing.T, *api){
		"each verb of each resource":      testResourceAccess,
		"each path":                       testPathAccess,
		"status is the controllers'":      testStatusAccess,
		"kubectl tells a viewer":          testKubectlViewer,
		"nobody but admins is another":    testImpersonation,
		"a refusal says what may be done": testRefusals,
		"what is too long":                testLongRequests,
		"an issuer's viewer is a viewer":  func(t *testing.T, a *api) { testIssuerAccess(t, a, issuer) },
	} {
		t.Run(name, func(t *testing.T) { run(t, server.in(t)) })
	}
}

// Whoever asks, known or not: nothing is written down of it, or handed to the engine.
func testLongRequests(t *testing.T, a *api) {
	for _, name := range []string{"nobody", "viewer", "admin"} {
		client, err := rest.HTTPClientFor(a.as(name))
		require.NoError(t, err)
		for _, length := range []int{maxHead / 2, maxHead} {
			for path, header := range map[string]string{"/livez?": "", "/livez?a=" + strings.Repeat("a", length): "", "/livez": strings.Repeat("a", length)} {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.creds.server+path, nil)
				require.NoError(t, err)
				request.Header.Set("X-Forwarded-For", header)
				response, err := client.Do(request)
				require.NoError(t, err)
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
				if len(path)+len(header) > maxHead {
					require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode, "%s %s", name, body)
					require.Contains(t, string(body), "at most 32 KiB")
				} else {
					require.Equal(t, http.StatusOK, response.StatusCode, "%s %s", name, body)
				}
			}
		}
	}
}

// as is how a person reaches the server; "nobody" has nothing to show.
func (a *api) as(name string) *rest.Config {
	a.t.Helper()
	config := &rest.Config{Host: a.creds.server, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: a.creds.authority.pem}}
	for _, p := range people {
		if p.name == name && p.token != "" {
			config.BearerToken = p.token
		} else if p.name == name {
			pair, err := a.creds.authority.client(p.name, []string{p.group}, time.Now())
			require.NoError(a.t, err)
			config.CertData, config.KeyData = pair.cert, pair.key
		}
	}
	return config
}

// ask returns what a request is answered, and leaves what goes on being sent.
func (a *api) ask(client *http.Client, method, path, contentType string) (int, string) {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.creds.server+path, strings.NewReader("{}"))
	require.NoError(a.t, err)
	request.Header.Set("Content-Type", contentType)
	response, err := client.Do(request)
	require.NoError(a.t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return response.StatusCode, ""
	}
	body, err := io.ReadAll(response.Body)
	require.NoError(a.t, err)
	return response.StatusCode, string(body)
}

// everything is what the server says that it has, and what access adds.
func (a *api) everything() []served {
	a.t.Helper()
	_, lists, err := a.client.Discovery().ServerGroupsAndResources()
	require.NoError(a.t, err)
	var all []served
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(a.t, err)
		for _, r := range list.APIResources {
			for _, verb := range r.Verbs {
				all = append(all, served{version, r.Name, verb, r.Namespaced})
			}
		}
	}
	return all
}

// allowed is who may, as access tells.
func allowed(s served) (who string, found bool) {
	for _, line := range access {
		if line.resource == s.resource+"."+s.Group && slices.Contains(strings.Fields(line.verbs), s.verb) {
			return line.who, true
		}
	}
	return "", false
}

func testResourceAccess(t *testing.T, a *api) {
	all := a.everything()
	require.NotEmpty(t, all)
	for _, s := range all {
		_, told := allowed(s)
		require.True(t, told, "who may %s? Add a line to access", s)
	}
	for _, p := range people {
		config := a.as(p.name)
		client, err := rest.HTTPClientFor(config)
		require.NoError(t, err)
		for _, s := range all {
			who, _ := allowed(s)
			method, path, contentType := s.request()
			code, body := a.ask(client, method, path, contentType)
			require.NotEqual(t, http.StatusUnauthorized, code, "%s %s: %s", p.name, s, body)
			require.Equal(t, slices.Contains(strings.Fields(who), p.name), code != http.StatusForbidden, "%s may %s: %d %s", p.name, s, code, body)
		}
		a.askReviews(p.name, config)
	}
	unknown := a.as("nobody")
	unknown.BearerToken = "guess"
	for name, config := range map[string]*rest.Config{"nobody": a.as("nobody"), "an unknown token": unknown} {
		client, err := rest.HTTPClientFor(config)
		require.NoError(t, err)
		for _, s := range all {
			method, path, contentType := s.request()
			code, body := a.ask(client, method, path, contentType)
			require.Equal(t, http.StatusUnauthorized, code, "%s %s: %s", name, s, body)
		}
	}
}

// askReviews holds the server's own answers to access, whether it has the resource or not.
func (a *api) askReviews(name string, config *rest.Config) {
	a.t.Helper()
	client, err := kubernetes.NewForConfig(config)
	require.NoError(a.t, err)
	for _, line := range access {
		full := schema.ParseGroupResource(line.resource)
		resource, sub, _ := strings.Cut(full.Resource, "/")
		for _, verb := range strings.Fields(line.verbs) {
			review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(a.t.Context(), &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: "default", Group: full.Group, Resource: resource, Subresource: sub, Verb: verb,
				}},
			}, metav1.CreateOptions{})
			require.NoError(a.t, err)
			require.Equal(a.t, slices.Contains(strings.Fields(line.who), name), review.Status.Allowed, "%s may %s %s", name, verb, line.resource)
		}
	}
}

func testPathAccess(t *testing.T, a *api) {
	admin, err := rest.HTTPClientFor(a.as("admin"))
	require.NoError(t, err)
	response, err := admin.Get(a.creds.server + "/")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var root metav1.RootPaths
	require.NoError(t, json.NewDecoder(response.Body).Decode(&root))
	require.Contains(t, root.Paths, "/readyz/postgres")

	for _, path := range append(root.Paths, "/") {
		who := ""
		for _, line := range pathAccess {
			for _, known := range strings.Fields(line.paths) {
				if path == known || known != "/" && strings.HasSuffix(known, "/") && strings.HasPrefix(path, known) {
					who = line.who
				}
			}
		}
		require.NotEmpty(t, who, "who may ask for %s? Add it to pathAccess", path)
		for _, name := range []string{"admin", "writer", "viewer", "controller", "stranger", "nobody"} {
			client, err := rest.HTTPClientFor(a.as(name))
			require.NoError(t, err)
			code, body := a.ask(client, http.MethodGet, path, "")
			client.CloseIdleConnections()
			refused := code == http.StatusForbidden || code == http.StatusUnauthorized
			require.Equal(t, slices.Contains(strings.Fields(who), name), !refused, "%s asks for %s: %d %s", name, path, code, body)
			require.Equal(t, refused && name == "nobody", code == http.StatusUnauthorized, "%s asks for %s: %d %s", name, path, code, body)
		}
	}
}
