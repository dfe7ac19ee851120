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
	"k8s.io/apimachinery/pkg/util/wait"
)

// renewEvery is how often a running server looks at the age of its certificates.
const renewEvery = 12 * time.Hour

// credentials are the files in the data directory that let clients trust the
// server, and the server trust its administrator.
type credentials struct {
	authority  *authority
	pki        string
	kubeconfig string
	server     string   // URL, as the kubeconfig says it
	hosts      []string // names and addresses the serving certificate is for
}

// openCredentials reads the files below dir, or makes them.
func openCredentials(dir string, addr net.Addr, now time.Time) (credentials, error) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return credentials{}, fmt.Errorf("serving on %s: not a TCP address", addr)
	}
	pki := filepath.Join(dir, "pki")
	ca, err := openAuthority(pki, now)
	if err != nil {
		return credentials{}, err
	}
	c := credentials{
		authority:  ca,
		pki:        pki,
		kubeconfig: filepath.Join(dir, "kubeconfig"),
		server:     serverURL(tcp),
		hosts:      servingHosts(tcp),
	}
	return c, c.keep(now)
}

// keep issues anew what is missing, near its end or for another address.
func (c credentials) keep(now time.Time) error {
	if err := c.authority.serving(c.pki, c.hosts, now); err != nil {
		return err
	}
	return keepKubeconfig(c.kubeconfig, c.server, c.authority, now)
}

// renew keeps the files fresh until ctx ends; the server picks a new serving
// certificate up from its file.
func (c credentials) renew(ctx context.Context, log logr.Logger) {
	wait.UntilWithContext(ctx, func(context.Context) {
		if err := c.keep(time.Now()); err != nil {
			log.Error(err, "renewing the certificates failed")
		}
	}, renewEvery)
}

func (c credentials) file(name string) string { return filepath.Join(c.pki, name) }

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
func servingHosts(addr *net.TCPAddr) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	if !addr.IP.IsUnspecified() {
		hosts = append(hosts, addr.IP.String())
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
