package docker

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/registry"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestPullAddsTheLayersUp(t *testing.T) {
	stream := strings.Join([]string{
		`{"status":"Pulling from galaxy/chess","id":"1.0.0"}`,
		`{"status":"Already exists","progressDetail":{},"id":"base"}`,
		`{"status":"Pulling fs layer","progressDetail":{},"id":"one"}`,
		`{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"one"}`,
		`{"status":"Downloading","progressDetail":{"current":5},"id":"two"}`,
		`{"status":"Download complete","progressDetail":{},"id":"one"}`,
		`{"status":"Extracting","progressDetail":{"current":1,"total":100},"id":"one"}`,
		`{"status":"Downloading","progressDetail":{"current":50,"total":50},"id":"two"}`,
		`{"status":"Pull complete","progressDetail":{},"id":"one"}`,
		`{"status":"Status: Downloaded newer image for galaxy/chess:1.0.0"}`,
	}, "\n")
	var told []engine.PullProgress
	require.NoError(t, answer(t, says(200, stream)).PullImage(t.Context(), "galaxy/chess:1.0.0", func(p engine.PullProgress) { told = append(told, p) }))
	require.Equal(t, []engine.PullProgress{
		{}, {}, {}, {Done: 10, Total: 100}, {Done: 15, Total: 105}, {Done: 105, Total: 105}, {Done: 105, Total: 105},
		{Done: 150, Total: 150}, {Done: 150, Total: 150}, {Done: 150, Total: 150},
	}, told, "every line is a sign of life")
}

// The words are those of Docker engines, old and new, and of their registries.
func TestTroublesOfPulls(t *testing.T) {
	const refused, limited, away = "the registry refuses access", "the registry limits how often it may be asked", "the registry cannot be reached"
	cases := map[string]string{
		`Get "http://127.0.0.1:5000/v2/galaxy/chess/manifests/1.0.0": no basic auth credentials`:                                                       refused,
		`Head "https://registry.example/v2/galaxy/chess/manifests/1.0.0": unauthorized: authentication required`:                                       refused,
		`error from registry: denied: access forbidden`:                                                                                                refused,
		`pull access denied for chess, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`:    "the registry refuses access, or has no such image",
		`manifest for 127.0.0.1:5000/galaxy/chess:2.0.0 not found: manifest unknown: manifest unknown`:                                                 "the registry has no such image",
		`toomanyrequests: You have reached your unauthenticated pull rate limit.`:                                                                      limited,
		`Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused`:                                                              away,
		`Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host`:                                                          away,
		`Get "https://registry.example/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`: away,
		`Get "https://registry.example/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`:                         away,
		`write /var/lib/docker/tmp/x: no space left on device`:                                                                                         "",
		`failed to register layer of registry.example/unauthorized/eof:forbidden`:                                                                      "",
	}
	for text, want := range cases {
		require.Equal(t, want, trouble(text), text)
	}
}

// shown pulls an image and returns what the engine was shown for its registry.
func shown(t *testing.T, c *Client, asked <-chan string, ref string) registry.AuthConfig {
	t.Helper()
	require.NoError(t, c.PullImage(t.Context(), ref, nil))
	text, err := base64.URLEncoding.DecodeString(<-asked)
	require.NoError(t, err)
	var auth registry.AuthConfig
	if len(text) > 0 {
		require.NoError(t, json.Unmarshal(text, &auth))
	}
	return auth
}

func newPuller(t *testing.T, registryConfig string) (*Client, <-chan string) {
	t.Helper()
	asked := make(chan string, 1)
	c := answer(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get(registry.AuthHeader)
		says(200, `{"status":"done"}`)(w, r)
	})
	c.registryConfig = registryConfig
	return c, asked
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
}

func login(userAndPassword string) string {
	return `{"auth":"` + base64.StdEncoding.EncodeToString([]byte(userAndPassword)) + `"}`
}

func TestCredentialsAreReadAtEachPull(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	write(t, file, `{"auths":{"registry.example:5000":`+login("galaxy:first")+`,"https://index.docker.io/v1/":`+login("hub:x")+`}}`, 0o600)
	c, asked := newPuller(t, file)
	require.Equal(t, registry.AuthConfig{Username: "galaxy", Password: "first", ServerAddress: "registry.example:5000"},
		shown(t, c, asked, "registry.example:5000/galaxy/chess:1.0.0"))
	require.Equal(t, registry.AuthConfig{Username: "hub", Password: "x", ServerAddress: "https://index.docker.io/v1/"},
		shown(t, c, asked, "galaxy/chess:1.0.0"))
	require.Zero(t, shown(t, c, asked, "another.example/galaxy/chess:1.0.0"))

	write(t, file, `{"auths":{"registry.example:5000":{"identitytoken":"second"}}}`, 0o600)
	require.Equal(t, "second", shown(t, c, asked, "registry.example:5000/galaxy/chess:1.0.0").IdentityToken)
}

func TestCredentialsOfTheDockerCommand(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	c, asked := newPuller(t, "")
	require.Zero(t, shown(t, c, asked, "galaxy/chess:1.0.0"), "there may be none")
	write(t, filepath.Join(dir, "config.json"), `{"auths":{"registry.example":`+login("galaxy:x")+`}}`, 0o600)
	require.Equal(t, "galaxy", shown(t, c, asked, "registry.example/chess:1.0.0").Username)

	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("HOME", "")
	require.Zero(t, shown(t, c, asked, "registry.example/chess:1.0.0"), "a service has no home")
}

func TestCredentialsOfAHelper(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	write(t, filepath.Join(dir, "docker-credential-galaxy"), "#!/bin/sh\nread server\necho '{\"Username\":\"for '$server'\",\"Secret\":\"s\"}'\n", 0o700)
	file := filepath.Join(dir, "config.json")
	write(t, file, `{"credHelpers":{"registry.example":"galaxy"}}`, 0o600)
	c, asked := newPuller(t, file)
	require.Equal(t, "for registry.example", shown(t, c, asked, "registry.example/chess:1.0.0").Username)
}

func TestCredentialsThatCannotBeHad(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	write(t, filepath.Join(dir, "docker-credential-broken"), "#!/bin/sh\necho s3cret\nexit 1\n", 0o700)
	cases := map[string]struct{ text, want string }{
		"no JSON":           {`{"auths": s3cret`, "not in the form of Docker's config.json"},
		"no base64":         {`{"auths":{"registry.example":{"auth":"s3cret!"}}}`, "registry.example cannot be read"},
		"no colon":          {`{"auths":{"registry.example":` + login("s3cret") + `}}`, "registry.example cannot be read"},
		"no such helper":    {`{"credsStore":"nowhere"}`, "not installed"},
		"helper that fails": {`{"credsStore":"broken"}`, "credential helper failed"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.json")
			write(t, file, tc.text, 0o600)
			c, asked := newPuller(t, file)
			err := c.PullImage(t.Context(), "registry.example/chess:1.0.0", nil)
			require.Equal(t, engine.PullFailed, engine.KindOf(err), "%v", err)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), filepath.Dir(file), "no path of the host")
			require.Empty(t, asked, "the engine is not asked without them")
		})
	}
	t.Run("no file", func(t *testing.T) {
		c, _ := newPuller(t, filepath.Join(dir, "missing.json"))
		err := c.PullImage(t.Context(), "registry.example/chess:1.0.0", nil)
		require.ErrorContains(t, err, "no such file")
		require.NotContains(t, err.Error(), dir)
	})
}
