package apiserver

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	certutil "k8s.io/client-go/util/cert"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

var credentialNames = []string{"pki/ca.crt", "pki/ca.key", "pki/trusted.crt", "pki/apiserver.crt", "pki/apiserver.key", "kubeconfig"}

// openAuthority is an authority of its own.
func openAuthority(dir string, at time.Time) (*authority, error) {
	all, err := openAuthorities(dir, at)
	if err != nil {
		return nil, err
	}
	return all.newest(), nil
}

// credentialFiles opens the credentials and reads all their files.
func credentialFiles(t *testing.T, dir, address string, at time.Time, hosts ...string) map[string]string {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", address)
	require.NoError(t, err)
	_, err = openCredentials(dir, addr, hosts, at)
	require.NoError(t, err)
	files := map[string]string{}
	for _, name := range credentialNames {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		files[name] = string(content)
	}
	return files
}

func TestCredentialsAreReissuedWhenTheyMust(t *testing.T) {
	const address = "127.0.0.1:7443"
	for name, c := range map[string]struct {
		address string
		at      time.Time
		hosts   []string
		before  func(t *testing.T, dir string)
		changed []string
	}{
		"nothing changed":               {address: address, at: now.Add(time.Hour)},
		"another port":                  {address: "127.0.0.1:7444", at: now, changed: []string{"kubeconfig"}},
		"another address":               {address: "127.0.0.2:7443", at: now, changed: []string{"pki/apiserver.crt", "pki/apiserver.key", "kubeconfig"}},
		"near the end":                  {address: address, at: now.Add(leafLifetime - renewBefore + time.Hour), changed: []string{"pki/apiserver.crt", "pki/apiserver.key", "kubeconfig"}},
		"another name":                  {address: address, at: now, hosts: []string{"games.example.org", "2001:DB8::1"}, changed: []string{"pki/apiserver.crt", "pki/apiserver.key"}},
		"the authority is near its end": {address: address, at: now.Add(authorityLifetime - succeedBefore + time.Hour), changed: []string{"pki/trusted.crt", "pki/apiserver.crt", "pki/apiserver.key", "kubeconfig"}},
		"the authority ended":           {address: address, at: now.Add(authorityLifetime + time.Hour), changed: []string{"pki/trusted.crt", "pki/apiserver.crt", "pki/apiserver.key", "kubeconfig"}},
		"a lost bundle": {address: address, at: now, before: func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "pki/trusted.crt")))
		}},
		"a torn kubeconfig": {address: address, at: now, changed: []string{"kubeconfig"}, before: func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "kubeconfig"), 10))
		}},
		"a lost serving key": {address: address, at: now, changed: []string{"pki/apiserver.crt", "pki/apiserver.key"}, before: func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "pki/apiserver.key")))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := credentialFiles(t, dir, address, now)
			if c.before != nil {
				c.before(t, dir)
			}
			after := credentialFiles(t, dir, c.address, c.at, c.hosts...)
			var changed []string
			for _, name := range credentialNames {
				if before[name] != after[name] {
					changed = append(changed, name)
				}
			}
			require.Equal(t, c.changed, changed)
		})
	}
}

// OpenSSL, and so curl, takes a certificate with its authority's name for signed by
// itself, and trusts it no more than any.
func TestTheServingCertificateHasANameOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	before, err := certutil.ParseCertsPEM([]byte(credentialFiles(t, dir, "127.0.0.1:7443", now)["pki/apiserver.crt"]))
	require.NoError(t, err)
	pki := filepath.Join(dir, "pki")
	ca, err := openAuthority(pki, now)
	require.NoError(t, err)
	namesake, err := sign(ca, &x509.Certificate{
		Subject: ca.cert.Subject, DNSNames: before[0].DNSNames, IPAddresses: before[0].IPAddresses,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, now)
	require.NoError(t, err)
	require.NoError(t, writeKeyPair(pki, servingName, namesake))

	files := credentialFiles(t, dir, "127.0.0.1:7443", now)
	certs, err := certutil.ParseCertsPEM([]byte(files["pki/apiserver.crt"]))
	require.NoError(t, err)
	require.NotEqual(t, certs[0].RawIssuer, certs[0].RawSubject)
}

func TestKeysAreForTheirOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	credentialFiles(t, dir, "127.0.0.1:7443", now)
	for name, want := range map[string]os.FileMode{
		"pki": 0o700, "pki/ca.key": 0o600, "pki/apiserver.key": 0o600, "kubeconfig": 0o600, "pki/ca.crt": 0o644, "pki/trusted.crt": 0o644,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), name)
	}
	left, err := filepath.Glob(filepath.Join(dir, "pki", ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "no temporary file is left over")
}

// A new authority would lock out every client of the old one.
func TestALostAuthorityKeyIsAnError(t *testing.T) {
	dir := t.TempDir()
	credentialFiles(t, dir, "127.0.0.1:7443", now)
	require.NoError(t, os.Remove(filepath.Join(dir, "pki", "ca.key")))
	_, err := openCredentials(dir, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7443}, nil, now)
	require.ErrorContains(t, err, "restore ca.key or remove both")
}

func TestAnUnspecifiedAddressIsReachedOnThisMachine(t *testing.T) {
	require.Equal(t, "https://127.0.0.1:7443", serverURL(&net.TCPAddr{IP: net.IPv4zero, Port: 7443}))
	require.Equal(t, "https://[::1]:7443", serverURL(&net.TCPAddr{IP: net.IPv6loopback, Port: 7443}))
}
