package rtctl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

// pair is a certificate of its own authority, valid in a time, in PEM.
type pair struct{ certificate, key []byte }

func newPair(t *testing.T, from, to time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "somebody"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	content, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pair{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// answering is a server that answers everything alike.
func answering(t *testing.T, identity pair, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	certificate, err := tls.X509KeyPair(identity.certificate, identity.key)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(answer)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// isTold wants a verb of ours and one of kubectl's to say the same.
func isTold(t *testing.T, want string, flags ...string) {
	t.Helper()
	for _, verb := range [][]string{{"history", "chess"}, {"get", "gr"}} {
		stdout, stderr, err := rtctl(t, append(verb, flags...)...)
		require.ErrorContains(t, err, want, "%v", verb)
		require.NotContains(t, err.Error(), "\n")
		require.Empty(t, stdout)
		require.Empty(t, stderr)
	}
}

// Whatever stands between an operator and the manager is told alike by all verbs,
// in one line that says what to do about it.
func TestConnectionErrors(t *testing.T) {
	here(t)
	m := startManager(t)
	write := func(server string, authority []byte) string {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		kubeconfig(t, path, server, authority)
		t.Setenv("KUBECONFIG", path)
		return path
	}
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		path := write("https://"+listener.Addr().String(), m.authority())
		isTold(t, "no manager answers at https://"+listener.Addr().String()+", which "+path+" names: connect: connection refused")
	})
	t.Run("another manager's kubeconfig", func(t *testing.T) {
		path := write(m.URL, newPair(t, began, began.Add(time.Hour)).certificate)
		isTold(t, m.URL+" is not the manager that "+path+" is for: x509: certificate signed by unknown authority")
	})
	t.Run("another name", func(t *testing.T) {
		_, port, err := net.SplitHostPort(m.Listener.Addr().String())
		require.NoError(t, err)
		write("https://localhost:"+port, m.authority())
		isTold(t, "is not for that address: x509: certificate is valid for ")
	})
	t.Run("another kind of server", func(t *testing.T) {
		path := write(m.URL, m.authority())
		isTold(t, m.URL+" serves no games: is "+path+" a manager's kubeconfig?", "-n", "elsewhere")
	})
	t.Run("no TLS", func(t *testing.T) {
		plain := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(plain.Close)
		address := "https://" + strings.TrimPrefix(plain.URL, "http://")
		path := write(address, m.authority())
		isTold(t, address+", which "+path+" names, speaks no TLS")
	})
	t.Run("no answer in time", func(t *testing.T) {
		stuck := answering(t, newPair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)), func(_ http.ResponseWriter, req *http.Request) {
			<-req.Context().Done()
		})
		path := write(stuck.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: stuck.Certificate().Raw}))
		isTold(t, "the manager at "+stuck.URL+", which "+path+" names, does not answer in time", "--request-timeout", "300ms")
	})
}

// A process says that one line and nothing else, unless it is asked for more.
func TestLibrariesAreQuiet(t *testing.T) {
	m := startManager(t)
	path := filepath.Join(here(t), "kubeconfig")
	kubeconfig(t, path, m.URL, m.authority())
	m.Close()
	p := program(t, self(t), "get", "gr", "--kubeconfig", path)
	require.Equal(t, 1, p.code(t))
	require.Regexp(t, `^rtctl: no manager answers at [^\n]*\n$`, p.out.String())

	p = program(t, self(t), "get", "gr", "--kubeconfig", path, "-v", "6")
	require.Equal(t, 1, p.code(t))
	require.Contains(t, p.out.String(), `verb="GET" url="`+m.URL)
}

func TestKubeconfigErrors(t *testing.T) {
	here(t)
	m := startManager(t)
	t.Run("not there", func(t *testing.T) {
		isTold(t, "kubeconfig /no/such/file: ", "--kubeconfig", "/no/such/file")
	})
	t.Run("no kubeconfig", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
		isTold(t, "kubeconfig "+path+": ", "--kubeconfig", path)
	})
	t.Run("not readable", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		kubeconfig(t, path, m.URL, m.authority())
		becomeNobody(t)
		isTold(t, "kubeconfig "+path+": this user may not read it", "--kubeconfig", path)
	})
	t.Run("one that was found, not readable", func(t *testing.T) {
		path := filepath.Join(here(t), ".runtime-manager", "kubeconfig")
		kubeconfig(t, path, m.URL, m.authority())
		becomeNobody(t)
		isTold(t, "kubeconfig "+path+": this user may not read it")
	})
}

// becomeNobody has the rest of a test read files as a user without rights.
func becomeNobody(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	runtime.LockOSThread() // the thread ends with the test
	const nobody = 65534
	require.NoError(t, unix.Setfsuid(nobody))
	t.Cleanup(func() { require.NoError(t, unix.Setfsuid(0)) })
}

// A certificate that is not valid now may tell of a clock that is wrong, and both
// are shown.
func TestClocks(t *testing.T) {
	here(t)
	now := time.Now()
	const hour = time.Hour
	for name, c := range map[string]struct {
		from, to time.Duration // of the certificate, from now
		manager  time.Duration // its clock
		want     string
	}{
		"this clock is behind":             {hour, 2 * hour, hour, ": set the one that is wrong"},
		"this clock is ahead":              {-2 * hour, -hour, -hour, ": set the one that is wrong"},
		"both clocks know that it is over": {-2 * hour, -hour, 0, ", as the manager's does: the certificate must be issued anew"},
	} {
		clock := func(w http.ResponseWriter) { w.Header().Set("Date", now.Add(c.manager).UTC().Format(http.TimeFormat)) }
		theirs := newPair(t, now.Add(c.from), now.Add(c.to))
		valid := newPair(t, now.Add(-hour), now.Add(hour))
		dates := "is valid from " + told(now.Add(c.from)) + " to " + told(now.Add(c.to)) + ", and the clock of this machine says "

		t.Run("of the server, "+name, func(t *testing.T) {
			server := answering(t, theirs, func(w http.ResponseWriter, _ *http.Request) { clock(w) })
			path := filepath.Join(t.TempDir(), "kubeconfig")
			kubeconfig(t, path, server.URL, theirs.certificate)
			isTold(t, "the certificate of "+server.URL+" "+dates, "--kubeconfig", path)
			isTold(t, c.want, "--kubeconfig", path)
		})
		t.Run("of the client, "+name, func(t *testing.T) {
			server := answering(t, valid, func(w http.ResponseWriter, _ *http.Request) {
				clock(w)
				w.WriteHeader(http.StatusUnauthorized)
			})
			path := filepath.Join(t.TempDir(), "kubeconfig")
			kubeconfigOf(t, path, server.URL, valid.certificate, theirs)
			if c.want == ": set the one that is wrong" {
				// The manager's clock alone counts, and by it this one is valid.
				isTold(t, "does not know whom "+path+" speaks for", "--kubeconfig", path)
				return
			}
			isTold(t, "the certificate in "+path+" "+dates, "--kubeconfig", path)
			isTold(t, c.want, "--kubeconfig", path)
		})
	}
}

// kubeconfigOf writes one of somebody with a certificate.
func kubeconfigOf(t *testing.T, path, server string, authority []byte, who pair) {
	t.Helper()
	kubeconfig(t, path, server, authority)
	config, err := clientcmd.LoadFromFile(path)
	require.NoError(t, err)
	config.AuthInfos["somebody"] = &clientcmdapi.AuthInfo{ClientCertificateData: who.certificate, ClientKeyData: who.key}
	config.Contexts["m"].AuthInfo = "somebody"
	require.NoError(t, clientcmd.WriteToFile(*config, path))
}

// The real server answers a certificate that its authority did not sign.
func testStranger(t *testing.T, server *apiservertest.Server) {
	mine, err := clientcmd.LoadFromFile(server.Kubeconfig())
	require.NoError(t, err)
	cluster := mine.Clusters[mine.Contexts[mine.CurrentContext].Cluster]
	path := filepath.Join(t.TempDir(), "kubeconfig")
	for want, who := range map[string]pair{
		cluster.Server + " does not know whom " + path + " speaks for: is it another manager's, or too old?": newPair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)),
		"as the manager's does: the certificate must be issued anew":                                         newPair(t, began.Add(-time.Hour), began),
	} {
		kubeconfigOf(t, path, cluster.Server, cluster.CertificateAuthorityData, who)
		_, _, err := rtctl(t, "get", "gr", "--kubeconfig", path) // the server may warn, besides
		require.ErrorContains(t, err, want)
	}
}
