package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"
	clocktesting "k8s.io/utils/clock/testing"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

// signedBy reports whether one of the authorities in trusted signed the leaf.
func signedBy(t *testing.T, leaf, trusted string, at time.Time) bool {
	t.Helper()
	certs, err := certutil.ParseCertsPEM([]byte(leaf))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(trusted)))
	_, err = certs[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// Whatever day of 25 years it is, a client with a kubeconfig that has not ended
// trusts the server, and is trusted by it. Somebody fetches one every 90 days, for a
// year, which is the longest; the manager looks at its files every 30.
func TestNoClientIsLockedOutByANewAuthority(t *testing.T) {
	dir := t.TempDir()
	type client struct {
		trusts, cert string
		end          time.Time
	}
	var clients []client
	const day = 24 * time.Hour
	founded := map[string]bool{}
	for at := now; at.Before(now.Add(25 * 365 * day)); at = at.Add(30 * day) {
		files := credentialFiles(t, dir, "127.0.0.1:7443", at)
		founded[files["pki/trusted.crt"]] = true
		if int(at.Sub(now)/day)%90 == 0 {
			content, err := IssueKubeconfig(KubeconfigOptions{Dir: dir, User: "lobby", Groups: []string{GroupWriters}, Expires: leafLifetime}, at)
			require.NoError(t, err)
			issued, err := clientcmd.Load(content)
			require.NoError(t, err)
			clients = append(clients, client{
				trusts: string(issued.Clusters[contextName].CertificateAuthorityData),
				cert:   string(issued.AuthInfos["lobby"].ClientCertificateData), end: at.Add(leafLifetime),
			})
		}
		for _, c := range clients {
			if at.Before(c.end) {
				require.True(t, signedBy(t, files["pki/apiserver.crt"], c.trusts, at), "a client of %s trusts the server on %s", c.end.Add(-leafLifetime), at)
				require.True(t, signedBy(t, c.cert, files["pki/trusted.crt"], at), "the server trusts a client of %s on %s", c.end.Add(-leafLifetime), at)
			}
		}
	}
	require.Greater(t, len(founded), 3, "the authority was succeeded")
}

// served is the certificate that a new connection meets.
func (a *api) served() *x509.Certificate {
	a.t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(a.t.Context(), "tcp", a.generic.SecureServingInfo.Listener.Addr().String())
	require.NoError(a.t, err)
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// reads wants the client of a kubeconfig to be trusted, and to trust.
func reads(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = client.Resource(games).List(ctx, metav1.ListOptions{})
	return err
}

// The authority of this server gets its successor, and its certificate is renewed,
// while it serves.
func TestCertificatesAreReplacedWhileTheServerRuns(t *testing.T) {
	const margin, later = backdate / 2, backdate - time.Minute // what is issued then is good now
	dir := t.TempDir()
	_, err := openAuthorities(filepath.Join(dir, "pki"), time.Now().Add(succeedBefore+margin-authorityLifetime))
	require.NoError(t, err)
	a := start(t, openStore(t, store.Options{Pool: postgrestest.Schema(t)}), dir, "127.0.0.1:0", config.CRDs)
	old := a.admin
	require.NoError(t, reads(t.Context(), old))
	require.Len(t, bundleOf(t, old), 1)

	aged := time.Now().Add(renewBefore + margin - leafLifetime)
	ca, err := readAuthorities(a.creds.pki, time.Now())
	require.NoError(t, err)
	pair, err := ca.newest().forHosts(a.creds.hosts, aged)
	require.NoError(t, err)
	require.NoError(t, writeKeyPair(a.creds.pki, servingName, pair))
	var before *x509.Certificate
	require.Eventually(t, func() bool { before = a.served(); return before.NotBefore.Before(time.Now().Add(-time.Hour)) }, patience, 10*time.Millisecond)

	require.NoError(t, a.creds.keep(time.Now().Add(later)))
	require.Eventually(t, func() bool { return a.served().SerialNumber.Cmp(before.SerialNumber) != 0 }, patience, 10*time.Millisecond)
	fresh, err := clientcmd.BuildConfigFromFlags("", a.Kubeconfig())
	require.NoError(t, err)
	require.Len(t, bundleOf(t, fresh), 2)
	require.Eventually(t, func() bool { return reads(t.Context(), fresh) == nil }, patience, 10*time.Millisecond)
	require.NoError(t, reads(t.Context(), rest.CopyConfig(old)), "who trusts the old authority alone is served on")
}

func bundleOf(t *testing.T, config *rest.Config) []*x509.Certificate {
	t.Helper()
	require.NoError(t, rest.LoadTLSFiles(config))
	certs, err := certutil.ParseCertsPEM(config.CAData)
	require.NoError(t, err)
	return certs
}

func TestCertificatesAreLookedAtTwiceADay(t *testing.T) {
	dir := t.TempDir()
	first := credentialFiles(t, dir, "127.0.0.1:7443", now)
	c := &credentials{pki: filepath.Join(dir, "pki"), kubeconfig: filepath.Join(dir, "kubeconfig"), server: "https://127.0.0.1:7443", hosts: []string{"localhost"}}
	clock := clocktesting.NewFakeClock(now.Add(leafLifetime - renewBefore - renewEvery))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.renew(ctx, clock, logr.Discard()) }()
	defer func() { cancel(); <-done }()
	require.Eventually(t, clock.HasWaiters, patience, time.Millisecond)
	clock.Step(renewEvery + time.Minute)
	require.Eventually(t, func() bool {
		content, err := os.ReadFile(filepath.Join(dir, "kubeconfig"))
		return err == nil && string(content) != first["kubeconfig"]
	}, patience, time.Millisecond)
}

// A clock that is behind is told of in one line, before anything is issued by it.
func TestAClockThatIsFarOff(t *testing.T) {
	dir := t.TempDir()
	before := credentialFiles(t, dir, "127.0.0.1:7443", now)
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7443}
	for _, at := range []time.Time{now.Add(-time.Hour), time.Unix(0, 0)} {
		_, err := openCredentials(dir, address, nil, at)
		require.ErrorContains(t, err, "the clock of this machine is wrong, or was: it says "+at.UTC().Format(time.DateTime)+" UTC, and a certificate in "+
			filepath.Join(dir, "pki")+" was issued at 2026-05-01 12:00:00 UTC")
	}
	require.Equal(t, before, credentialFiles(t, dir, "127.0.0.1:7443", now.Add(-backdate)), "a little behind is nothing")

	require.NoError(t, os.Remove(filepath.Join(dir, "pki", servingCertFile)))
	credentialFiles(t, dir, "127.0.0.1:7443", now.Add(30*24*time.Hour))
	_, err := openCredentials(dir, address, nil, now)
	require.ErrorContains(t, err, "the clock of this machine is wrong", "the authority had begun, and the serving certificate had not")
}
