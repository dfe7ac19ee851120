package apiserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// issuer signs tokens, and serves the key to check them by.
type issuer struct {
	t      *testing.T
	server *httptest.Server
	key    *ecdsa.PrivateKey
}

// newTestIssuer is one that accepts connections, and answers none before it is started.
func newTestIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	i := &issuer{t: t, key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"issuer": i.url(), "jwks_uri": i.url() + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		point, err := key.PublicKey.Bytes() // 4, x, y
		require.NoError(t, err)
		i.answer(w, map[string]any{"keys": []any{map[string]string{
			"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k",
			"x": encode(point[1:33]), "y": encode(point[33:]),
		}}})
	})
	i.server = httptest.NewUnstartedServer(mux)
	t.Cleanup(i.server.Close)
	return i
}

func (i *issuer) url() string { return "https://" + i.server.Listener.Addr().String() }

func (i *issuer) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is one of a viewer who may come in; claims change it, nil
// takes one away.
func (i *issuer) token(claims map[string]any) string {
	i.t.Helper()
	all := map[string]any{
		"iss": i.url(), "aud": "runtime-manager", "sub": "ann", "groups": []string{"viewers"}, "staff": "yes",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	body, err := json.Marshal(all)
	require.NoError(i.t, err)
	signed := encode([]byte(`{"alg":"ES256","kid":"k"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	require.NoError(i.t, err)
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature)
}

var authenticationConfig = template.Must(template.New("").Parse(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: {{.URL}}
    audiences: [{{.Audience}}]
    audienceMatchPolicy: MatchAny
    certificateAuthority: {{.CA}}
  claimMappings:
    username: {claim: sub, prefix: "oidc:"}
    groups: {claim: groups, prefix: "galaxy:"}
  claimValidationRules:
  - {claim: staff, requiredValue: "yes"}
  - {expression: "!has(claims.guest)", message: no guests}
  userValidationRules:
  - {expression: "user.username != 'oidc:mallory'", message: not her}
`))

// config is a configuration that trusts the issuer.
func (i *issuer) config(audience string) string {
	i.t.Helper()
	known := httptest.NewTLSServer(nil) // each has the same certificate
	defer known.Close()
	ca, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: known.Certificate().Raw})))
	require.NoError(i.t, err)
	var content bytes.Buffer
	require.NoError(i.t, authenticationConfig.Execute(&content, map[string]string{"URL": i.url(), "Audience": audience, "CA": string(ca)}))
	return content.String()
}

// configFile is such a configuration in a file.
func (i *issuer) configFile() string {
	i.t.Helper()
	path := filepath.Join(i.t.TempDir(), "authentication.yaml")
	require.NoError(i.t, os.WriteFile(path, []byte(i.config("runtime-manager")), 0o644))
	return path
}

func TestTokensOfAnIssuer(t *testing.T) {
	t.Parallel()
	issuer, other := newTestIssuer(t), newTestIssuer(t)
	issuer.server.StartTLS()
	known, err := openIssuers(issuer.configFile())
	require.NoError(t, err)
	require.Empty(t, userOf(t, known, issuer.token(nil)), "nobody is known before run")
	var log logged
	runSource(t, known, log.logger())
	require.Eventually(t, func() bool { return userOf(t, known, issuer.token(nil)) != "" }, patience, time.Millisecond)

	forged := issuer.token(map[string]any{"groups": []string{"admins"}})
	body, _, _ := strings.Cut(forged, ".")
	genuine := strings.SplitN(issuer.token(nil), ".", 3)
	for name, c := range map[string]struct{ token, who string }{
		"as it should be":    {token: issuer.token(nil), who: "oidc:ann galaxy:viewers"},
		"several groups":     {token: issuer.token(map[string]any{"groups": []string{"writers", "viewers"}}), who: "oidc:ann galaxy:writers galaxy:viewers"},
		"no groups":          {token: issuer.token(map[string]any{"groups": nil}), who: "oidc:ann"},
		"another audience":   {token: issuer.token(map[string]any{"aud": "somebody else"})},
		"expired":            {token: issuer.token(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})},
		"no subject":         {token: issuer.token(map[string]any{"sub": nil})},
		"a claim is missing": {token: issuer.token(map[string]any{"staff": nil})},
		"a claim is wrong":   {token: issuer.token(map[string]any{"staff": "no"})},
		"a rule says no":     {token: issuer.token(map[string]any{"guest": true})},
		"not this user":      {token: issuer.token(map[string]any{"sub": "mallory"})},
		"another issuer":     {token: other.token(nil)},
		"another's key":      {token: other.token(map[string]any{"iss": issuer.url()})},
		"another body":       {token: genuine[0] + "." + strings.SplitN(forged, ".", 3)[1] + "." + genuine[2]},
		"no signature":       {token: body + "." + genuine[1] + "."},
		"no token":           {token: "guess"},
	} {
		require.Equal(t, c.who, userOf(t, known, c.token), name)
	}
	require.Zero(t, log.count("issuer of tokens"), "one that answers is not worth a line")
}

func TestIssuerThatIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	issuer := newTestIssuer(t)
	known, err := openIssuers(issuer.configFile())
	require.NoError(t, err, "no start waits for it")
	var log logged
	runSource(t, known, log.logger())
	require.Eventually(t, func() bool { return log.count("cannot be reached") == 1 }, patience, time.Millisecond)
	require.Empty(t, userOf(t, known, issuer.token(nil)))
	require.Error(t, healthOf(known))
	issuer.server.StartTLS()
	require.Eventually(t, func() bool { return userOf(t, known, issuer.token(nil)) != "" }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return log.count("the issuer of tokens was reached") == 1 }, patience, time.Millisecond)
	require.Equal(t, 1, log.count("cannot be reached"))
	require.NoError(t, healthOf(known))
}

func TestIssuersAreReadAgain(t *testing.T) {
	t.Parallel()
	issuer := newTestIssuer(t)
	issuer.server.StartTLS()
	path := issuer.configFile()
	known, err := openIssuers(path)
	require.NoError(t, err)
	var log logged
	runSource(t, known, log.logger())
	who := func(audience string) string { return userOf(t, known, issuer.token(map[string]any{"aud": audience})) }
	require.Eventually(t, func() bool { return who("runtime-manager") != "" }, patience, time.Millisecond)
	require.Empty(t, who("rtctl"))

	write := func(content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o644)) }
	write(issuer.config("rtctl, runtime-manager"))
	require.Eventually(t, func() bool {
		assert.NotEmpty(t, who("runtime-manager"), "known before and after, and all the while")
		return who("rtctl") != ""
	}, patience, time.Millisecond)
	write("jwt: nonsense")
	require.Eventually(t, func() bool { return log.count("still counts") == 1 }, patience, time.Millisecond)
	require.ErrorContains(t, healthOf(known), "nonsense")
	require.NotEmpty(t, who("rtctl"))
	write(issuer.config("rtctl"))
	require.Eventually(t, func() bool { return who("runtime-manager") == "" }, patience, time.Millisecond)
	require.NotEmpty(t, who("rtctl"))
}

func TestAuthenticationConfigIsChecked(t *testing.T) {
	right := newTestIssuer(t).config("runtime-manager")
	replaced := func(old, with string) string {
		require.Contains(t, right, old)
		return strings.Replace(right, old, with, 1)
	}
	for name, c := range map[string]struct{ content, wrong string }{
		"as it should be":  {content: right},
		"an older version": {content: replaced("config.k8s.io/v1", "config.k8s.io/v1beta1")},
		"no issuers":       {content: "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"},
		"nothing":          {wrong: "Kind"},
		"another kind":     {content: "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n", wrong: "kind: must be AuthenticationConfiguration"},
		"an unknown field": {content: replaced("audiences", "audience"), wrong: `unknown field "jwt[0].issuer.audience"`},
		"no audience":      {content: replaced("[runtime-manager]\n    audienceMatchPolicy: MatchAny", "[]"), wrong: "jwt[0].issuer.audiences: Required"},
		"plain HTTP":       {content: replaced("https:", "http:"), wrong: "jwt[0].issuer.url: Invalid value"},
		"a bad authority":  {content: replaced("BEGIN CERTIFICATE", "BEGIN NONSENSE"), wrong: "jwt[0].issuer.certificateAuthority: Invalid value"},
		"a bad expression": {content: replaced("!has(claims.guest)", "!has("), wrong: "jwt[0].claimValidationRules[1].expression: Invalid value"},
		"a proxy":          {content: replaced("audiences", "egressSelectorType: cluster\n    audiences"), wrong: "jwt[0].issuer.egressSelectorType: Forbidden"},
		"anonymous people": {content: right + "anonymous: {enabled: true}\n", wrong: "anonymous: Forbidden: whom nobody knows may ask for health"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "authentication.yaml")
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o644))
			err := CheckAuthenticationConfig(path)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.wrong)
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
}

func TestFilesOfThePagesAreUnderstood(t *testing.T) {
	page, err := os.ReadFile("../../docs/access.md")
	require.NoError(t, err)
	block := func(language, start string) []byte {
		_, after, found := strings.Cut(string(page), "```"+language+"\n"+start)
		require.True(t, found, language)
		content, _, _ := strings.Cut(after, "```")
		return []byte(start + content)
	}
	config, err := parseIssuers(block("yaml", "apiVersion: apiserver.config"))
	require.NoError(t, err)
	require.Len(t, config, 1)
	tokens, err := parseTokens(block("csv", ""))
	require.NoError(t, err)
	require.Equal(t, "ci galaxy:writers", userOf(t, tokens, digest("5b3c0a77cf1e4d1f8a52")))
}
