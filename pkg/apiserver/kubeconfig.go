package apiserver

import (
	"crypto/x509"
	"fmt"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contextName names cluster and context, so that the entry keeps its meaning
// when somebody merges the file into their own.
const contextName = "runtime-manager"

// adminUser is who the kubeconfig in the data directory speaks as.
const adminUser = "admin"

// keepKubeconfig makes sure that the file at path lets its owner in: it is
// written when it is missing, or when the address, the authority or the end of
// the certificate's life made it useless, and else left alone.
func keepKubeconfig(path, server string, ca *authority, now time.Time) error {
	if kubeconfigServes(path, server, ca, now) {
		return nil
	}
	pair, err := ca.client(adminUser, []string{GroupAdmins}, now)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[contextName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca.pem}
	config.AuthInfos[adminUser] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key}
	config.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: adminUser}
	config.CurrentContext = contextName
	content, err := clientcmd.Write(*config)
	if err == nil {
		err = writeFile(path, content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
}

func kubeconfigServes(path, server string, ca *authority, now time.Time) bool {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return false
	}
	cluster, user := config.Clusters[contextName], config.AuthInfos[adminUser]
	return cluster != nil && user != nil &&
		cluster.Server == server &&
		string(cluster.CertificateAuthorityData) == string(ca.pem) &&
		ca.vouches(keyPair{cert: user.ClientCertificateData, key: user.ClientKeyData}, x509.ExtKeyUsageClientAuth, now)
}
