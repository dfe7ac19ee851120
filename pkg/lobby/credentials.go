package lobby

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// maxRedirects is how often the Lobby may send us elsewhere on itself.
const maxRedirects = 5

// files are where credentials are kept; each may be "".
type files struct{ token, ca, cert, key string }

// read returns what the files hold, in the same places.
func (f files) read() (files, error) {
	var held files
	for _, file := range []struct {
		path string
		to   *string
	}{{f.token, &held.token}, {f.ca, &held.ca}, {f.cert, &held.cert}, {f.key, &held.key}} {
		if file.path == "" {
			continue
		}
		data, err := os.ReadFile(file.path)
		if err != nil {
			return files{}, err
		}
		*file.to = string(data)
	}
	return held, nil
}

// credentials are how we show who we are, and know the Lobby. They follow their
// files; while those cannot be read or do not fit together, as in the middle of a
// rotation, the former ones count.
type credentials struct {
	files files
	log   logr.Logger

	mu     sync.Mutex
	held   files // what the files held when client and token were made of it
	client *http.Client
	token  string
	stale  bool
}

func newCredentials(files files, log logr.Logger) (*credentials, error) {
	c := &credentials{files: files, log: log}
	return c, c.follow()
}

// current returns the client to ask with, and the token to send, if any.
func (c *credentials) current() (*http.Client, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch err := c.follow(); {
	case err != nil && !c.stale:
		c.stale = true
		c.log.Error(err, "keeping the Lobby's former credentials: the new ones cannot be used")
	case err == nil && c.stale:
		c.stale = false
		c.log.Info("using the Lobby's new credentials")
	}
	return c.client, c.token
}

// follow makes client and token anew when a file has changed. Connections are
// bound to the certificates that they were opened with, so the old ones go.
func (c *credentials) follow() error {
	held, err := c.files.read()
	if err != nil || (c.client != nil && held == c.held) {
		return err
	}
	token := strings.TrimSpace(held.token)
	if c.files.token != "" && !isToken(token) {
		return fmt.Errorf("%s holds no bearer token", c.files.token)
	}
	config, err := c.tlsConfig(held)
	if err != nil {
		return err
	}
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	c.held, c.token, c.client = held, token, newHTTPClient(config)
	return nil
}

func (c *credentials) tlsConfig(held files) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.files.ca != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(held.ca)) {
			return nil, fmt.Errorf("%s holds no certificate", c.files.ca)
		}
	}
	if c.files.cert != "" {
		pair, err := tls.X509KeyPair([]byte(held.cert), []byte(held.key))
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", c.files.cert, c.files.key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// close ends the connections that nobody uses.
func (c *credentials) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client.CloseIdleConnections()
}

// newHTTPClient makes a client that goes to the Lobby and nowhere else: not to
// a proxy of the environment, and not where a redirect leads away from it.
func newHTTPClient(config *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:        config,
			DisableCompression:     true, // nothing small grows large here
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			switch {
			case !sameHost(next.URL, before[0].URL):
				return http.ErrUseLastResponse
			case len(before) > maxRedirects:
				return errRedirects
			}
			return nil
		},
	}
}

var errRedirects = errors.New("it redirects without an end")

func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// isToken says whether a text can stand in a header as it is.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
