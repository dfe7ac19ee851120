package apiserver

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// renewEvery is how often a running server looks at the age of its certificates.
const renewEvery = 12 * time.Hour

// credentials are the files in the data directory that let clients trust the
// server, and the server trust its administrator.
type credentials struct {
	// authority is the one that signs for clients.
	authority  *authority
	pki        string
	kubeconfig string
	server     string   // URL, as the kubeconfig says it
	hosts      []string // names and addresses the serving certificate is for
}

// The files in pki besides the authorities' own: the certificates of all of them,
// which is what a client has to trust, and the server's pair.
const (
	trustedFile     = "trusted.crt"
	servingName     = "apiserver"
	servingCertFile = servingName + ".crt"
	servingKeyFile  = servingName + ".key"
)

// openCredentials reads the files below dir, or makes them. The serving certificate
// is for the hosts too.
func openCredentials(dir string, addr net.Addr, hosts []string, now time.Time) (credentials, error) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return credentials{}, fmt.Errorf("serving on %s: not a TCP address", addr)
	}
	c := credentials{
		pki:        filepath.Join(dir, "pki"),
		kubeconfig: filepath.Join(dir, "kubeconfig"),
		server:     serverURL(tcp),
		hosts:      servingHosts(tcp, hosts),
	}
	return c, c.keep(now)
}

// keep issues anew what is missing, near its end or for another address.
func (c *credentials) keep(now time.Time) error {
	all, err := openAuthorities(c.pki, now)
	if err != nil {
		return err
	}
	c.authority = all.newest()
	if err := keepFile(c.file(trustedFile), all.bundle()); err != nil {
		return fmt.Errorf("writing what clients trust: %w", err)
	}
	if err := all.server(now).serving(c.pki, c.hosts, now); err != nil {
		return err
	}
	return keepKubeconfig(c.kubeconfig, c.server, all, now)
}

// renew keeps the files fresh until ctx ends; the server picks a new serving
// certificate, and a new authority, up from their files.
func (c *credentials) renew(ctx context.Context, clock clock.WithTicker, log logr.Logger) {
	tick := clock.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
		if err := c.keep(clock.Now()); err != nil {
			log.Error(err, "renewing the certificates failed")
		}
	}
}

func (c *credentials) file(name string) string { return filepath.Join(c.pki, name) }

// serverURL is the address for a client on this machine.
func serverURL(addr *net.TCPAddr) string {
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(host, fmt.Sprint(addr.Port))}
	return u.String()
}

// servingHosts are the names that clients may know this server by. A machine
// without a name is reached by its addresses.
func servingHosts(addr *net.TCPAddr, more []string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, host := range more {
		if ip := net.ParseIP(host); ip != nil {
			host = ip.String() // as a certificate gives it back
		}
		hosts = append(hosts, host)
	}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	if !addr.IP.IsUnspecified() {
		hosts = append(hosts, addr.IP.String())
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
