package rtctl

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
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

// connection is how a verb reaches the manager. It is the genericclioptions.RESTClientGetter
// of kubectl's verbs, too.
type connection struct {
	flags *genericclioptions.ConfigFlags
	// program is what the command is called, agent what servers write of it.
	program, agent string
	// places are where a kubeconfig may be that nobody named, the likeliest first.
	places func() []string
	// server and kubeconfig are for people, once there is a client.
	server, kubeconfig string
	// config is what reaches the server, for explain.
	config *rest.Config
	met    lastAnswer
}

var _ genericclioptions.RESTClientGetter = &connection{}

func newConnection(places func() []string) *connection {
	c := &connection{flags: genericclioptions.NewConfigFlags(true), places: places}
	c.flags.WrapConfigFn = func(config *rest.Config) *rest.Config {
		config.Wrap(c.met.watch)
		config.UserAgent = c.agent
		return config
	}
	return c
}

// addFlags adds those of kubectl's flags that mean something here: who else one is
// comes from the kubeconfig.
func (c *connection) addFlags(flags *pflag.FlagSet) {
	shown := &genericclioptions.ConfigFlags{
		KubeConfig: c.flags.KubeConfig, Context: c.flags.Context, Namespace: c.flags.Namespace, Timeout: c.flags.Timeout,
		Impersonate: c.flags.Impersonate, ImpersonateGroup: c.flags.ImpersonateGroup,
	}
	shown.AddFlags(flags)
	for name, usage := range map[string]string{
		"kubeconfig":      "the manager's kubeconfig; empty: $KUBECONFIG, or else what is found",
		"context":         "the context of the kubeconfig",
		"namespace":       "the namespace of the games; empty: the context's, or else default",
		"request-timeout": "how long one request may take, as in 30s; 0 is for as long as it takes",
		"as":              "act as that user, where one may",
		"as-group":        "and as a member of that group; may be repeated",
	} {
		flags.Lookup(name).Usage = usage
	}
	flags.AddGoFlag(verbosityFlag())
}

// client returns a client of the manager's own API group, and the namespace that
// is meant.
func (c *connection) client() (*rest.RESTClient, string, error) {
	config, err := c.ToRESTConfig()
	if err != nil {
		return nil, "", err
	}
	namespace, _, err := c.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	config.APIPath, config.GroupVersion = "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	return client, namespace, nil
}

// ToRESTConfig returns what reaches the server that the kubeconfig names.
func (c *connection) ToRESTConfig() (*rest.Config, error) {
	if err := c.find(); err != nil {
		return nil, err
	}
	if err := c.readable(); err != nil {
		return nil, err
	}
	config, err := c.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	c.server, c.config = config.Host, config
	return rest.CopyConfig(config), nil
}

// readable says what is wrong with files that client-go has poor words for, or takes
// for good: of such as are not there it makes a server at localhost:8080.
func (c *connection) readable() error {
	for _, path := range filepath.SplitList(c.kubeconfig) {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("kubeconfig %s: this user may not read it", path)
		}
		if err == nil {
			_ = file.Close() // nothing was read
		}
	}
	raw, err := c.flags.ToRawKubeConfigLoader().RawConfig()
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && clientcmdapi.IsConfigEmpty(&raw):
		return fmt.Errorf("kubeconfig %s: there is no such file, or nothing in it", c.kubeconfig)
	case err != nil:
		return fmt.Errorf("kubeconfig %s: %w", c.kubeconfig, err)
	}
	return nil
}

// ToDiscoveryClient returns a client that keeps in the cache what the server serves.
func (c *connection) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	if _, err := c.ToRESTConfig(); err != nil {
		return nil, err
	}
	return c.flags.ToDiscoveryClient()
}

// ToRESTMapper returns what knows the resources by their names.
func (c *connection) ToRESTMapper() (meta.RESTMapper, error) {
	if _, err := c.ToRESTConfig(); err != nil {
		return nil, err
	}
	return c.flags.ToRESTMapper()
}

// ToRawKubeConfigLoader returns the kubeconfig, of which whatever is asked first
// says what is wrong with it.
func (c *connection) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return checkedConfig{c.flags.ToRawKubeConfigLoader, c}
}

// checkedConfig is read once it is known where it is.
type checkedConfig struct {
	load func() clientcmd.ClientConfig
	c    *connection
}

func (k checkedConfig) ConfigAccess() clientcmd.ConfigAccess { return k.load().ConfigAccess() }
func (k checkedConfig) ClientConfig() (*rest.Config, error)  { return k.c.ToRESTConfig() }
func (k checkedConfig) RawConfig() (clientcmdapi.Config, error) {
	if _, err := k.c.ToRESTConfig(); err != nil {
		return clientcmdapi.Config{}, err
	}
	return k.load().RawConfig()
}

func (k checkedConfig) Namespace() (string, bool, error) {
	if _, err := k.c.ToRESTConfig(); err != nil {
		return "", false, err
	}
	return k.load().Namespace()
}

// find sees to it that there is a kubeconfig: the flag's, the environment's as
// kubectl reads it, or the first that is in its place.
func (c *connection) find() error {
	if c.kubeconfig = *c.flags.KubeConfig; c.kubeconfig != "" {
		return nil
	}
	if c.kubeconfig = os.Getenv(clientcmd.RecommendedConfigPathEnvVar); c.kubeconfig != "" {
		return nil
	}
	places := c.places()
	for _, path := range places {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			c.kubeconfig, *c.flags.KubeConfig = path, path
			return nil
		}
	}
	return fmt.Errorf("no manager is known here: there is no %s; name its kubeconfig with --kubeconfig or $%s",
		strings.Join(places, " and no "), clientcmd.RecommendedConfigPathEnvVar)
}

// managerKubeconfigs are where managers write theirs: in the data directory they
// are told, in the default one, and in that of make run. kubectl's own default is
// some other cluster's.
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

// kubectlKubeconfigs begin with kubectl's default: who calls a plugin means the
// cluster that kubectl means.
func kubectlKubeconfigs() []string {
	places := managerKubeconfigs()
	if home, err := os.UserHomeDir(); err == nil {
		places = slices.Insert(places, 0, filepath.Join(home, clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName))
	}
	return places
}

// lastAnswer is how the last request ended. kubectl's verbs tell of an error in
// their own words alone, and this is what they had from the server.
type lastAnswer struct {
	sync.Mutex
	err      error
	response *http.Response // without its body
}

func (l *lastAnswer) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(req)
		l.Lock()
		defer l.Unlock()
		l.err, l.response = err, nil
		if err == nil {
			l.response = &http.Response{StatusCode: response.StatusCode, Header: response.Header}
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
