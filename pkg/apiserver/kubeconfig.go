package apiserver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contextName names cluster and context, so that the entry keeps its meaning
// when somebody merges the file into their own.
const contextName = "runtime-manager"

// adminUser is who the kubeconfig in the data directory speaks as.
const adminUser = "admin"

// KubeconfigOptions say whom a kubeconfig lets in.
type KubeconfigOptions struct {
	// Dir is the data directory, whose authority signs. It is only read: a manager
	// may run on it.
	Dir string
	// User is who the kubeconfig speaks as, Groups what the user is a member of.
	User   string
	Groups []string
	// Server is the API's URL; empty is that of the administrator's kubeconfig in Dir.
	Server string
	// Expires is how long it is good for, at most a year.
	Expires time.Duration
}

// IssueKubeconfig makes a kubeconfig with a new client certificate, which nobody
// can take back before it ends.
func IssueKubeconfig(o KubeconfigOptions, now time.Time) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, "pki")
	all, err := readAuthorities(dir, now)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: run this as the user that the manager runs as", err)
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, fmt.Errorf("there is no certificate authority in %s: runtime-manager serve founds it with its first start on this data directory", dir)
	}
	server := o.Server
	if server == "" {
		admin, err := clientcmd.LoadFromFile(filepath.Join(o.Dir, "kubeconfig"))
		if err != nil {
			return nil, fmt.Errorf("looking up the API's address, which --server can give: %w", err)
		}
		if cluster := admin.Clusters[contextName]; cluster != nil {
			server = cluster.Server
		}
	}
	pair, err := all.newest().clientUntil(o.User, o.Groups, now, now.Add(o.Expires))
	if err != nil {
		return nil, err
	}
	return writeKubeconfig(o.User, server, all, pair)
}

// reserved begins the names of users and groups that the API server gives itself,
// of which one may do everything.
const reserved = "system:"

func (o KubeconfigOptions) check() error {
	const longest = 64 // as X.509 has it
	for _, name := range append([]string{o.User}, o.Groups...) {
		switch {
		case name == "":
			return errors.New("a user and a group must have names")
		case len(name) > longest || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
			return fmt.Errorf("%q: the name of a user or a group has at most %d characters, without blanks", name, longest)
		case strings.HasPrefix(name, reserved):
			return fmt.Errorf("%q: what begins with %s is the API server's own", name, reserved)
		}
	}
	if o.Expires <= 0 || o.Expires > leafLifetime {
		return fmt.Errorf("a kubeconfig is good for some time, at most a year (%s), not for %s", leafLifetime, o.Expires)
	}
	return nil
}

// keepKubeconfig makes sure that the file at path lets its owner in: it is
// written when it is missing, or when the address, the authorities or the end of
// the certificate's life made it useless, and else left alone.
func keepKubeconfig(path, server string, all authorities, now time.Time) error {
	if kubeconfigServes(path, server, all, now) {
		return nil
	}
	pair, err := all.newest().client(adminUser, []string{GroupAdmins}, now)
	if err != nil {
		return err
	}
	content, err := writeKubeconfig(adminUser, server, all, pair)
	if err != nil {
		return err
	}
	if err := writeFile(path, content, 0o600); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
}

func writeKubeconfig(user, server string, all authorities, pair keyPair) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[contextName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: all.bundle()}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key}
	config.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: user}
	config.CurrentContext = contextName
	content, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return content, nil
}

func kubeconfigServes(path, server string, all authorities, now time.Time) bool {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return false
	}
	cluster, user := config.Clusters[contextName], config.AuthInfos[adminUser]
	return cluster != nil && user != nil &&
		cluster.Server == server &&
		string(cluster.CertificateAuthorityData) == string(all.bundle()) &&
		all.newest().vouches(keyPair{cert: user.ClientCertificateData, key: user.ClientKeyData}, x509.ExtKeyUsageClientAuth, now)
}
