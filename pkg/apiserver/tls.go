package apiserver

import (
	"bytes"
	"crypto/tls"
	"net"
	"path/filepath"
	"sync"
	"time"

	cliflag "k8s.io/component-base/cli/flag"
)

// minTLSVersion is spoken by everything that is alive.
const minTLSVersion = "VersionTLS12"

// cipherSuites are those of TLS 1.2 that encrypt and authenticate in one and keep
// no secret that opens the past, for a key such as ours. TLS 1.3 has no others.
var cipherSuites = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}

// PrepareTLS makes sure of the certificates below dir, for a server that is there
// before the API is. Address and hosts are the API's, as Options have them.
func PrepareTLS(dir string, address net.Addr, hosts []string) error {
	_, err := openCredentials(dir, address, hosts, time.Now())
	return err
}

// TLS is how another server of this process has to listen: with the API's own
// certificate below dir, as it is at each handshake, and asking for certificates,
// which Authenticate looks at.
func TLS(dir string) (*tls.Config, error) {
	version, err := cliflag.TLSVersion(minTLSVersion)
	if err != nil {
		return nil, err
	}
	suites, err := cliflag.TLSCipherSuites(cipherSuites)
	if err != nil {
		return nil, err
	}
	pair := &servingPair{dir: filepath.Join(dir, "pki")}
	return &tls.Config{
		MinVersion: version, CipherSuites: suites, ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.load() },
	}, nil
}

// servingPair is the serving certificate, read anew when its file has changed.
type servingPair struct {
	dir string

	mu     sync.Mutex
	have   keyPair
	loaded *tls.Certificate
}

func (p *servingPair) load() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pair, err := readKeyPair(p.dir, servingName)
	if err == nil && (p.loaded == nil || !bytes.Equal(pair.cert, p.have.cert)) {
		var loaded tls.Certificate
		if loaded, err = tls.X509KeyPair(pair.cert, pair.key); err == nil {
			p.have, p.loaded = pair, &loaded
		}
	}
	if p.loaded != nil { // while the pair is being written, the last one serves
		return p.loaded, nil
	}
	return nil, err
}
