package apiserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime      = 365 * 24 * time.Hour
	// renewBefore leaves a manager that is down for weeks with valid
	// certificates, and an operator with time to notice that renewal fails.
	renewBefore = leafLifetime / 3
	// backdate tolerates a client whose clock is a little behind ours.
	backdate = 5 * time.Minute
)

// authority signs the certificates of one installation. It lives in the data
// directory: nothing outside trusts it, and it trusts nothing else.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  crypto.Signer
}

// keyPair is a certificate with its private key, both PEM.
type keyPair struct{ cert, key []byte }

// openAuthority reads the authority kept in dir, or founds it. One that has
// expired is founded anew: nothing that it signed is of use any more.
func openAuthority(dir string, now time.Time) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the pki directory: %w", err)
	}
	pair, err := readKeyPair(dir, "ca")
	if errors.Is(err, fs.ErrNotExist) {
		return foundAuthority(dir, now)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	ca, err := parseAuthority(pair)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority in %s: %w", dir, err)
	}
	if now.After(ca.cert.NotAfter) {
		return foundAuthority(dir, now)
	}
	return ca, nil
}

func parseAuthority(pair keyPair) (*authority, error) {
	loaded, err := tls.X509KeyPair(pair.cert, pair.key)
	if err != nil {
		return nil, err
	}
	key, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok || !loaded.Leaf.IsCA {
		return nil, errors.New("not a certificate authority")
	}
	return &authority{cert: loaded.Leaf, pem: pair.cert, key: key}, nil
}

func foundAuthority(dir string, now time.Time) (*authority, error) {
	pair, err := sign(nil, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "runtime-manager"},
		NotAfter:              now.Add(authorityLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, now)
	if err != nil {
		return nil, fmt.Errorf("founding the certificate authority: %w", err)
	}
	if err := writeKeyPair(dir, "ca", pair); err != nil {
		return nil, fmt.Errorf("founding the certificate authority: %w", err)
	}
	return parseAuthority(pair)
}

// serving keeps the server's certificate in dir: it is reused until it comes
// near its end or must name other hosts.
func (ca *authority) serving(dir string, hosts []string, now time.Time) error {
	if pair, err := readKeyPair(dir, "apiserver"); err == nil &&
		ca.vouches(pair, x509.ExtKeyUsageServerAuth, now) && isFor(pair, hosts) {
		return nil
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "runtime-manager"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	pair, err := sign(ca, template, now)
	if err == nil {
		err = writeKeyPair(dir, "apiserver", pair)
	}
	if err != nil {
		return fmt.Errorf("issuing the serving certificate: %w", err)
	}
	return nil
}

// client issues a client certificate: the common name is the user, the
// organizations are the groups.
func (ca *authority) client(user string, groups []string, now time.Time) (keyPair, error) {
	pair, err := sign(ca, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, now)
	if err != nil {
		return keyPair{}, fmt.Errorf("issuing a client certificate for %q: %w", user, err)
	}
	return pair, nil
}

// vouches reports whether pair is whole, was signed by ca for this use, and
// has more than renewBefore left.
func (ca *authority) vouches(pair keyPair, use x509.ExtKeyUsage, now time.Time) bool {
	loaded, err := tls.X509KeyPair(pair.cert, pair.key)
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	_, err = loaded.Leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{use},
	})
	return err == nil && now.Add(renewBefore).Before(loaded.Leaf.NotAfter)
}

// isFor reports whether the certificate is for exactly these hosts.
func isFor(pair keyPair, hosts []string) bool {
	certs, err := certutil.ParseCertsPEM(pair.cert)
	if err != nil {
		return false
	}
	have := slices.Clone(certs[0].DNSNames)
	for _, ip := range certs[0].IPAddresses {
		have = append(have, ip.String())
	}
	want := slices.Clone(hosts)
	slices.Sort(have)
	slices.Sort(want)
	return slices.Equal(have, want)
}

// sign completes the template, makes a key for it and signs it; a nil
// authority signs with that key itself. A leaf never outlives its authority.
func sign(ca *authority, template *x509.Certificate, now time.Time) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return keyPair{}, err
	}
	template.NotBefore = now.Add(-backdate)
	parent, signer := template, crypto.Signer(key)
	if ca != nil {
		parent, signer = ca.cert, ca.key
		template.NotAfter = now.Add(leafLifetime)
		if template.NotAfter.After(ca.cert.NotAfter) {
			template.NotAfter = ca.cert.NotAfter
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return keyPair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return keyPair{}, err
	}
	certPEM, err := certutil.EncodeCertificates(cert)
	if err != nil {
		return keyPair{}, err
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	return keyPair{cert: certPEM, key: keyPEM}, err
}

func readKeyPair(dir, name string) (keyPair, error) {
	// The certificate is written last: without it, the pair was never used.
	cert, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		return keyPair{}, err
	}
	key, err := os.ReadFile(filepath.Join(dir, name+".key"))
	if errors.Is(err, fs.ErrNotExist) {
		// Founding a new authority in silence would lock its clients out.
		return keyPair{}, fmt.Errorf("%s.crt in %s has lost its key: restore %[1]s.key or remove both", name, dir)
	}
	return keyPair{cert: cert, key: key}, err
}

func writeKeyPair(dir, name string, pair keyPair) error {
	if err := writeFile(filepath.Join(dir, name+".key"), pair.key, 0o600); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, name+".crt"), pair.cert, 0o644)
}

// writeFile replaces a file as a whole: a reader, or a crash, meets the old
// content or the new one.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // fails, rightly, once it was renamed
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
