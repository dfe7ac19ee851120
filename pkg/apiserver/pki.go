package apiserver

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// backdate tolerates a client whose clock is a little behind ours.
const backdate = 5 * time.Minute

// keyPair is a certificate with its private key, both PEM.
type keyPair struct{ cert, key []byte }

// isFor reports whether the certificate is for exactly these hosts, and has a name
// other than its authority's: OpenSSL, and curl with it, takes one that has not for
// signed by itself.
func isFor(pair keyPair, hosts []string) bool {
	certs, err := certutil.ParseCertsPEM(pair.cert)
	if err != nil {
		return false
	}
	if bytes.Equal(certs[0].RawSubject, certs[0].RawIssuer) {
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
// authority signs with that key itself. A leaf lives for a year unless the template
// says otherwise, and never outlives its authority.
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
		if template.NotAfter.IsZero() {
			template.NotAfter = now.Add(leafLifetime)
		}
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

// keepFile writes a public file, unless its content is this already.
func keepFile(path string, content []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, content) {
		return nil
	}
	return writeFile(path, content, 0o644)
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
