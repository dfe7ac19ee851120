package rtctl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// dataDirVariable is where the manager is told its data directory.
const dataDirVariable = "RTM_DATA_DIR"

// scheme knows what the manager's API speaks.
var scheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic(err) // the types are ours: a programming error
	}
	return scheme
}()

// connection is how a verb reaches the manager.
type connection struct {
	flags *genericclioptions.ConfigFlags
	// server and kubeconfig are for people, once there is a client.
	server, kubeconfig string
}

func newConnection() *connection {
	all := genericclioptions.NewConfigFlags(true)
	return &connection{flags: &genericclioptions.ConfigFlags{
		KubeConfig: all.KubeConfig, Context: all.Context, Namespace: all.Namespace, Timeout: all.Timeout,
	}}
}

// client returns a client of the manager's own API group, and the namespace that
// is meant.
func (c *connection) client() (*rest.RESTClient, string, error) {
	if err := c.find(); err != nil {
		return nil, "", err
	}
	// Of files that are not there, client-go makes a server at localhost:8080.
	if raw, err := c.flags.ToRawKubeConfigLoader().RawConfig(); err == nil && clientcmdapi.IsConfigEmpty(&raw) {
		return nil, "", fmt.Errorf("kubeconfig %s: there is no such file, or nothing in it", c.kubeconfig)
	}
	config, err := c.flags.ToRESTConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	namespace, _, err := c.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	c.server = config.Host
	config.APIPath, config.GroupVersion = "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	return client, namespace, nil
}

// find sees to it that there is a kubeconfig: the flag's, the environment's as
// kubectl reads it, or what a manager on this machine wrote for its user.
// kubectl's own default is some other cluster's, and never taken.
func (c *connection) find() error {
	if c.kubeconfig = *c.flags.KubeConfig; c.kubeconfig != "" {
		return nil
	}
	if c.kubeconfig = os.Getenv(clientcmd.RecommendedConfigPathEnvVar); c.kubeconfig != "" {
		return nil
	}
	places := managerKubeconfigs()
	for _, path := range places {
		if _, err := os.Stat(path); err == nil {
			c.kubeconfig, *c.flags.KubeConfig = path, path
			return nil
		}
	}
	return fmt.Errorf("no manager is known here: there is no %s; name its kubeconfig with --kubeconfig or $%s",
		strings.Join(places, " and no "), clientcmd.RecommendedConfigPathEnvVar)
}

// managerKubeconfigs are where managers write theirs: in the data directory they
// are told, in the default one, and in that of make run.
func managerKubeconfigs() []string {
	const name = "kubeconfig"
	if dir := os.Getenv(dataDirVariable); dir != "" {
		return []string{filepath.Join(dir, name)}
	}
	var places []string
	if home, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(home, ".runtime-manager", name))
	}
	return append(places, filepath.Join(".run", name))
}

// explain puts what the client met into the words of who called the command.
func (c *connection) explain(err error) error {
	var (
		foreign *tls.CertificateVerificationError
		network *net.OpError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &foreign):
		return fmt.Errorf("%s is not the manager that %s is for: %w", c.server, c.kubeconfig, foreign.Err)
	case errors.As(err, &network):
		return fmt.Errorf("no manager answers at %s, which %s names: %w", c.server, c.kubeconfig, network.Err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not know whom %s speaks for: is it another manager's, or too old?", c.server, c.kubeconfig)
	case apierrors.IsNotFound(err) && apierrors.IsUnexpectedServerError(err):
		return fmt.Errorf("%s serves no games: is %s a manager's kubeconfig?", c.server, c.kubeconfig)
	}
	return err
}
