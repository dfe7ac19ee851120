package apiserver

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// call asks the server as somebody; a nil pair is nobody.
func (a *api) call(path, token string, pair *keyPair) (int, string) {
	a.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	if pair != nil {
		certificate, err := tls.X509KeyPair(pair.cert, pair.key)
		require.NoError(a.t, err)
		transport.TLSClientConfig.Certificates = []tls.Certificate{certificate}
	}
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.creds.server+path, nil)
	require.NoError(a.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := transport.RoundTrip(req)
	require.NoError(a.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(a.t, err)
	return response.StatusCode, string(body)
}

func testIdentity(t *testing.T, a *api) {
	const records = "/apis/runtime.galaxy.io/v1alpha1/gameruntimes"
	admin, err := a.creds.authority.client("root", []string{GroupAdmins}, time.Now())
	require.NoError(t, err)
	somebody, err := a.creds.authority.client("somebody", []string{"galaxy:strangers"}, time.Now())
	require.NoError(t, err)
	foreignCA, err := openAuthority(t.TempDir(), time.Now())
	require.NoError(t, err)
	foreigner, err := foreignCA.client("root", []string{GroupAdmins}, time.Now())
	require.NoError(t, err)
	expired, err := a.creds.authority.client("root", []string{GroupAdmins}, time.Now().Add(-2*leafLifetime))
	require.NoError(t, err)
	server, err := readKeyPair(a.creds.pki, "apiserver")
	require.NoError(t, err)
	a.readiness()

	for name, c := range map[string]struct {
		path, token string
		pair        *keyPair
		code        int
	}{
		"nobody":                            {path: records, code: 401},
		"nobody discovers":                  {path: "/apis", code: 401},
		"a wrong token":                     {path: records, token: "guess", code: 401},
		"nobody asks for health":            {path: "/readyz", code: 200},
		"nobody asks for reasons":           {path: "/readyz/postgres", code: 401},
		"an administrator":                  {path: records, pair: &admin, code: 200},
		"somebody":                          {path: records, pair: &somebody, code: 403},
		"somebody discovers":                {path: "/apis", pair: &somebody, code: 200},
		"somebody asks for the version":     {path: "/version", pair: &somebody, code: 200},
		"somebody reads metrics":            {path: "/metrics", pair: &somebody, code: 403},
		"an administrator profiles":         {path: "/debug/pprof/", pair: &admin, code: 404},
		"another authority's administrator": {path: records, pair: &foreigner, code: 401},
		"an expired certificate":            {path: records, pair: &expired, code: 401},
		"the server's own certificate":      {path: records, pair: &server, code: 401},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := a.in(t).call(c.path, c.token, c.pair)
			require.Equal(t, c.code, code, body)
		})
	}
}

// readiness is what /readyz tells anybody, once upstream's own hooks are through, too.
func (a *api) readiness() (told string) {
	a.t.Helper()
	require.Eventually(a.t, func() bool {
		code, body := a.call("/readyz?verbose", "", nil)
		told = body
		return code == http.StatusOK
	}, patience, 10*time.Millisecond)
	return told
}

func testHealth(t *testing.T, a *api) {
	told := a.readiness()
	require.Contains(t, told, "[+]postgres ok")
	require.Contains(t, told, "[+]crds ok")
	code, body := a.call("/livez?verbose", "", nil)
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, body, "postgres", "to restart us mends no database")
}

// Clients older than aggregated discovery send no special Accept header.
func testGroupList(t *testing.T, a *api) {
	admin, err := a.creds.authority.client("root", []string{GroupAdmins}, time.Now())
	require.NoError(t, err)
	code, body := a.call("/apis", "", &admin)
	require.Equal(t, http.StatusOK, code)
	var list metav1.APIGroupList
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	found := map[string]string{}
	for _, g := range list.Groups {
		found[g.Name] = g.PreferredVersion.GroupVersion
	}
	require.Equal(t, "runtime.galaxy.io/v1alpha1", found["runtime.galaxy.io"])
	require.Equal(t, "coordination.k8s.io/v1", found["coordination.k8s.io"])
}
