package apiserver

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime      = 365 * 24 * time.Hour
	// renewBefore leaves a manager that is down for weeks with valid
	// certificates, and an operator with time to notice that renewal fails.
	renewBefore = leafLifetime / 3
	// succeedBefore is how long before its end an authority gets a successor. It is
	// longer than any client's certificate lives: whoever trusts the older one
	// alone has come for a new kubeconfig before the server leaves that one.
	succeedBefore = 2 * leafLifetime
)

// authorityName is that of the first authority's files; ca-2 is the next one.
const authorityName = "ca"

// authority signs the certificates of one installation. It lives in the data
// directory: nothing outside trusts it, and it trusts nothing else.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  crypto.Signer
}

// authorities are those that have not ended, by their ends. There is one, but for
// the last two years of its life, when its successor stands beside it: clients
// trust both, and are trusted by both.
type authorities []*authority

// newest signs the certificates of clients.
func (a authorities) newest() *authority { return a[len(a)-1] }

// server signs the server's certificate. It is the oldest one that can still give it
// a life, so that clients have as long as can be to hear of the others.
func (a authorities) server(now time.Time) *authority {
	for _, ca := range a {
		if now.Add(renewBefore).Before(ca.cert.NotAfter) {
			return ca
		}
	}
	return a.newest()
}

// bundle is the certificates of all, PEM.
func (a authorities) bundle() []byte {
	var all [][]byte
	for _, ca := range a {
		all = append(all, ca.pem)
	}
	return bytes.Join(all, nil)
}

// openAuthorities reads the authorities kept in dir. Where there is none, or all
// are near their ends, it founds another one.
func openAuthorities(dir string, now time.Time) (authorities, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the pki directory: %w", err)
	}
	all, err := readAuthorities(dir, now)
	if err != nil {
		return nil, err
	}
	if len(all) > 0 && now.Add(succeedBefore).Before(all.newest().cert.NotAfter) {
		return all, nil
	}
	ca, err := foundAuthority(dir, now)
	if err != nil {
		return nil, fmt.Errorf("founding the certificate authority: %w", err)
	}
	return append(all, ca), nil
}

// readAuthorities leaves those out that have ended: nothing that they signed is of
// use any more.
func readAuthorities(dir string, now time.Time) (authorities, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	var all authorities
	for _, file := range files {
		name, isCert := strings.CutSuffix(file.Name(), ".crt")
		if !isCert || name != authorityName && !strings.HasPrefix(name, authorityName+"-") {
			continue
		}
		pair, err := readKeyPair(dir, name)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authority: %w", err)
		}
		ca, err := parseAuthority(pair)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authority in %s: %w", dir, err)
		}
		if err := begun(pair, dir, now); err != nil {
			return nil, err
		}
		if now.Before(ca.cert.NotAfter) {
			all = append(all, ca)
		}
	}
	slices.SortFunc(all, func(a, b *authority) int { return a.cert.NotAfter.Compare(b.cert.NotAfter) })
	return all, nil
}

// begun refuses a clock that says a time before a certificate of ours was issued:
// whatever was issued by such a clock, nobody else would take.
func begun(pair keyPair, dir string, now time.Time) error {
	certs, err := certutil.ParseCertsPEM(pair.cert)
	if err != nil || !now.Before(certs[0].NotBefore) {
		return nil //nolint:nilerr // what cannot be read is issued anew
	}
	const layout = time.DateTime + " MST"
	return fmt.Errorf("the clock of this machine is wrong, or was: it says %s, and a certificate in %s was issued at %s",
		now.UTC().Format(layout), dir, certs[0].NotBefore.Add(backdate).UTC().Format(layout))
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

// foundAuthority writes it beside those that there are, whose keys stay.
func foundAuthority(dir string, now time.Time) (*authority, error) {
	pair, err := sign(nil, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "runtime-manager"},
		NotAfter:              now.Add(authorityLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, now)
	if err != nil {
		return nil, err
	}
	name := authorityName
	for n := 2; ; n++ {
		_, err := os.Stat(filepath.Join(dir, name+".crt"))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		name = fmt.Sprintf("%s-%d", authorityName, n)
	}
	if err := writeKeyPair(dir, name, pair); err != nil {
		return nil, err
	}
	return parseAuthority(pair)
}

// serving keeps the server's certificate in dir: it is reused until it comes
// near its end or must name other hosts.
func (ca *authority) serving(dir string, hosts []string, now time.Time) error {
	pair, err := readKeyPair(dir, servingName)
	if err == nil {
		if err := begun(pair, dir, now); err != nil {
			return err
		}
	}
	if err == nil && ca.vouches(pair, x509.ExtKeyUsageServerAuth, now) && isFor(pair, hosts) {
		return nil
	}
	if pair, err = ca.forHosts(hosts, now); err == nil {
		err = writeKeyPair(dir, servingName, pair)
	}
	if err != nil {
		return fmt.Errorf("issuing the serving certificate: %w", err)
	}
	return nil
}

func (ca *authority) forHosts(hosts []string, now time.Time) (keyPair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "runtime-manager API"},
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
	return sign(ca, template, now)
}

// client issues a client certificate for a year: the common name is the user, the
// organizations are the groups.
func (ca *authority) client(user string, groups []string, now time.Time) (keyPair, error) {
	return ca.clientUntil(user, groups, now, now.Add(leafLifetime))
}

func (ca *authority) clientUntil(user string, groups []string, now, end time.Time) (keyPair, error) {
	pair, err := sign(ca, &x509.Certificate{
		NotAfter:    end,
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
