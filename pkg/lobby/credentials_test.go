package lobby

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// file is a file that holds a text.
func file(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "file")
	rewrite(t, path, text)
	return path
}

func rewrite(t *testing.T, path, text string) {
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestTokenIsRotated(t *testing.T) {
	var sent []string
	lobby := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Authorization"))
		says(200, chess)(w, r)
	})
	path, log := file(t, "old-token\n"), &lines{}
	c := newClient(t, lobby.URL, func(o *Options) { o.TokenFile, o.Log = path, log.logger() })
	asked := func() {
		_, err := c.Game(t.Context(), "chess")
		require.NoError(t, err)
	}
	asked()
	rewrite(t, path, "new-token\n")
	asked()
	require.NoError(t, os.Remove(path))
	asked()
	rewrite(t, path, "")
	asked()
	rewrite(t, path, "newest-token")
	asked()
	assert.Equal(t, []string{
		"Bearer old-token", "Bearer new-token", "Bearer new-token", "Bearer new-token", "Bearer newest-token",
	}, sent)
	assert.Len(t, log.with("keeping the Lobby's former credentials"), 1)
	assert.Len(t, log.with("using the Lobby's new credentials"), 1)
	assert.Empty(t, log.with("-token"))
}

// A token that was rotated in the middle of a question is taken up by its next
// attempt.
func TestTokenIsRotatedBetweenAttempts(t *testing.T) {
	path, sent := file(t, "old"), ""
	lobby := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		rewrite(t, path, "new")
		says(503, "")(w, r)
	}, func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization")
		says(200, chess)(w, r)
	})
	_, err := newClient(t, lobby.URL, func(o *Options) { o.TokenFile = path }).Game(t.Context(), "chess")
	require.NoError(t, err)
	assert.Equal(t, "Bearer new", sent)
}

// No message has the token, or what the Lobby wrote, which may have it.
func TestNoSecretIsTold(t *testing.T) {
	for name, act := range map[string]http.HandlerFunc{
		"refused":   func(w http.ResponseWriter, r *http.Request) { says(401, r.Header.Get("Authorization"))(w, r) },
		"failed":    func(w http.ResponseWriter, r *http.Request) { says(500, r.Header.Get("Authorization"))(w, r) },
		"malformed": func(w http.ResponseWriter, r *http.Request) { says(200, r.Header.Get("Authorization"))(w, r) },
		"mistyped": func(w http.ResponseWriter, r *http.Request) {
			says(200, `{"game_id": {"`+r.Header.Get("Authorization")+`": 1}}`)(w, r)
		},
		"redirected": func(w http.ResponseWriter, r *http.Request) {
			says(302, "", "Location", "http://elsewhere/"+r.Header.Get("Authorization"))(w, r)
		},
		"redirected nowhere": func(w http.ResponseWriter, r *http.Request) {
			says(302, "", "Location", "http://[secret/"+r.Header.Get("Authorization"))(w, r)
		},
		"reset": reset,
		"no HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n" + r.Header.Get("Authorization") + "\r\n\r\n"))
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := &lines{}
			c := newClient(t, newStub(t, act).URL, func(o *Options) {
				o.TokenFile, o.Log, o.FailureLimit = file(t, "secret"), log.logger(), 1
			})
			_, err := c.Game(t.Context(), "chess")
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "secret")
			assert.Empty(t, log.with("secret"))
		})
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	_, _, a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	return a
}

// issue makes a certificate for a name and for loopback, and its key.
func (a *authority) issue(name string) (cert, key string) {
	cert, key, _, _ = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return cert, key
}

// sign signs a certificate, by itself while there is no authority yet.
func (a *authority) sign(template *x509.Certificate) (cert, key string, made *x509.Certificate, private *ecdsa.PrivateKey) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	require.NoError(a.t, err)
	made, err = x509.ParseCertificate(der)
	require.NoError(a.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(a.t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})), made, private
}

// serves gives a server a certificate of the authority's, and has it check those
// that clients show.
func (a *authority) serves(change ...func(*tls.Config)) func(*httptest.Server) {
	cert, key := a.issue("lobby")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	require.NoError(a.t, err)
	known := x509.NewCertPool()
	known.AddCert(a.cert)
	config := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: known, ClientAuth: tls.VerifyClientCertIfGiven}
	for _, c := range change {
		c(config)
	}
	return func(s *httptest.Server) { s.TLS = config }
}

func TestCertificateIsRotated(t *testing.T) {
	authority := newAuthority(t)
	var shown []string
	var open atomic.Int32 // connections
	setUp := func(s *httptest.Server) {
		authority.serves()(s)
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			default:
			}
		}
	}
	lobby := startStub(t, setUp, func(w http.ResponseWriter, r *http.Request) {
		for _, cert := range r.TLS.PeerCertificates {
			shown = append(shown, cert.Subject.CommonName)
		}
		says(200, chess)(w, r)
	})
	oldCert, oldKey := authority.issue("old")
	newCert, newKey := authority.issue("new")
	certFile, keyFile, log := file(t, oldCert), file(t, oldKey), &lines{}
	c := newClient(t, lobby.URL, func(o *Options) {
		o.CAFile, o.CertFile, o.KeyFile, o.Log = file(t, authority.pem), certFile, keyFile, log.logger()
	})
	asked := func() {
		_, err := c.Game(t.Context(), "chess")
		require.NoError(t, err)
	}
	asked()
	rewrite(t, certFile, newCert)
	asked() // the key is still the old one
	asked()
	rewrite(t, keyFile, newKey)
	asked()
	assert.Equal(t, []string{"old", "old", "old", "new"}, shown)
	assert.Eventually(t, func() bool { return open.Load() == 1 }, patience, time.Millisecond, "the old connection goes")
	assert.Len(t, log.with("keeping the Lobby's former credentials"), 1)
	assert.Len(t, log.with("using the Lobby's new credentials"), 1)
}

func TestAuthorityIsRotated(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	lobby := startStub(t, after.serves(), says(200, chess))
	path := file(t, before.pem)
	c := newClient(t, lobby.URL, func(o *Options) { o.CAFile = path })
	assert.Equal(t, Refused, kindOf(c), "we do not know it")
	assert.EqualValues(t, 1, testutil.ToFloat64(c.metrics.requests.WithLabelValues(string(Refused))), "and do not try again")
	rewrite(t, path, after.pem)
	assert.Empty(t, kindOf(c))
}

func TestCertificateIsRefused(t *testing.T) {
	authority := newAuthority(t)
	lobby := startStub(t, authority.serves(func(c *tls.Config) {
		// In TLS 1.3 the refusal comes after the handshake, and may be lost with the connection.
		c.ClientAuth, c.MaxVersion = tls.RequireAndVerifyClientCert, tls.VersionTLS12
	}), says(200, chess))
	c := newClient(t, lobby.URL, func(o *Options) { o.CAFile = file(t, authority.pem) })
	_, err := c.Game(t.Context(), "chess")
	assert.Equal(t, Refused, KindOf(err), "%v", err)
	assert.Equal(t, closed, c.circuit.state())
}

func TestSystemsAuthoritiesCountWithoutAFile(t *testing.T) {
	lobby := startStub(t, newAuthority(t).serves(), says(200, chess))
	assert.Equal(t, Refused, kindOf(newClient(t, lobby.URL)))
}
