package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	noop "go.opentelemetry.io/otel/trace/noop"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apiextensionsopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	genericfilters "k8s.io/apiserver/pkg/server/filters"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kube-openapi/pkg/common"

	"galaxy.io/runtime-manager/pkg/apiserver/openapi"
)

const (
	// maxReads and maxWrites bound the requests in flight, watches aside.
	maxReads  = 400
	maxWrites = 200
	// drainTimeout bounds the wait for requests, and for watches to be told
	// that they end, when the server stops.
	drainTimeout = 10 * time.Second
	// startGrace is how long /livez forgives a start that waits for the
	// database: to restart this process would not bring it back.
	startGrace = 10 * time.Minute
)

// assemble wires upstream's parts into one server: the apiextensions server is
// the base, and the built-in kinds are installed beside it. A chain of servers
// would need kube-aggregator to merge their discovery and OpenAPI again.
func (s *Server) assemble(o Options) error {
	config := genericapiserver.NewRecommendedConfig(apiextensionsserver.Codecs)
	config.EffectiveVersion = newEffectiveVersion(o.Version)
	config.MergedResourceConfig = apiextensionsserver.DefaultAPIResourceConfigSource()
	config.MaxRequestsInFlight, config.MaxMutatingRequestsInFlight = maxReads, maxWrites
	config.ShutdownWatchTerminationGracePeriod = drainTimeout
	config.LivezGracePeriod = startGrace
	config.ExternalAddress = o.Listener.Addr().String()
	config.EnableProfiling = false
	config.LongRunningFunc = genericfilters.BasicLongRunningRequestCheck(sets.NewString("watch"), sets.NewString("exec", "log"))
	config.BuildHandlerChainFunc = func(handler http.Handler, c *genericapiserver.Config) http.Handler {
		return boundHead(warnOfEnd(genericapiserver.DefaultBuildHandlerChain(traced(o.Traces, blameApplicant(o.Dependencies.tell(s.subresources.before(handler)))), c)))
	}
	configureOpenAPI(config)

	if err := s.secure(config, o); err != nil {
		return err
	}
	if err := o.Audit.apply(config); err != nil {
		return err
	}
	for _, source := range s.sources {
		o.Dependencies.Used = append(o.Dependencies.Used, source.dependency())
	}
	client, err := kubernetes.NewForConfig(loopback(config.LoopbackClientConfig))
	if err != nil {
		return fmt.Errorf("building the loopback client: %w", err)
	}
	s.client = client
	s.extensions, err = apiextensionsclient.NewForConfig(loopback(config.LoopbackClientConfig))
	if err != nil {
		return fmt.Errorf("building the loopback client: %w", err)
	}
	config.SharedInformerFactory = informers.NewSharedInformerFactory(client, 0)
	namespaces, err := namespaceLifecycle(client, config.SharedInformerFactory)
	if err != nil {
		return err
	}
	config.AdmissionControl = admission.NewChainHandler(namespaces, traceMark{})
	s.cleaner, err = newNamespaceCleaner(loopback(config.LoopbackClientConfig), client,
		config.SharedInformerFactory.Core().V1().Namespaces(), o.Log)
	if err != nil {
		return err
	}
	s.collector, err = newGarbageCollector(loopback(config.LoopbackClientConfig), client.Discovery(), o.Store, o.Log)
	if err != nil {
		return err
	}
	if o.History != nil {
		s.subresources = append(s.subresources, history{read: o.History, client: client, log: o.Log}.subresource())
	}
	if o.Plan != nil {
		records, err := dynamic.NewForConfig(loopback(config.LoopbackClientConfig))
		if err != nil {
			return fmt.Errorf("building the loopback client: %w", err)
		}
		s.subresources = append(s.subresources, plans{plan: o.Plan, records: records.Resource(gameRuntimes), log: o.Log}.subresource())
	}
	if o.Console != nil {
		console := newConsole(o, client, config.Authorization.Authorizer, s.sessions)
		s.subresources = append(s.subresources, console.subresources()...)
	}
	config.AggregatedDiscoveryGroupManager = discoverable{aggregated.NewResourceManager("apis"), s.subresources}
	s.addChecks(config, o)
	return s.build(config, o)
}

// build completes the configuration, installs all kinds and /apis.
func (s *Server) build(config *genericapiserver.RecommendedConfig, o Options) error {
	builtinOptions := o.Store.RESTOptionsGetter(builtinCodec)
	config.RESTOptionsGetter = o.Store.RESTOptionsGetter(func(schema.GroupResource) runtime.Codec {
		return apiextensionsserver.Codecs.LegacyCodec(apiextensionsv1.SchemeGroupVersion)
	})
	extensions := apiextensionsserver.Config{
		GenericConfig: config,
		ExtraConfig: apiextensionsserver.ExtraConfig{
			CRDRESTOptionsGetter: o.Store.RESTOptionsGetter(func(schema.GroupResource) runtime.Codec {
				return unstructured.UnstructuredJSONScheme
			}),
			// More than one holds every new definition back for five seconds.
			MasterCount:     1,
			ServiceResolver: noServices{},
			AuthResolverWrapper: webhook.NewDefaultAuthenticationInfoResolverWrapper(
				nil, nil, config.LoopbackClientConfig, noop.NewTracerProvider()),
		},
	}
	notFound := genericapiserver.NewEmptyDelegateWithCustomHandler(http.NotFoundHandler())
	server, err := extensions.Complete().New(notFound)
	if err != nil {
		return fmt.Errorf("building the API server: %w", err)
	}
	s.generic = server.GenericAPIServer
	s.generic.ShutdownTimeout = drainTimeout
	if err := installBuiltins(s.generic, builtinOptions); err != nil {
		return err
	}
	installGroupList(s.generic, server.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister())
	if err := s.generic.AddPreShutdownHook("finish-start", s.finishStart); err != nil {
		return fmt.Errorf("building the API server: %w", err)
	}
	return nil
}

// finishStart holds a stop back until upstream's start is through: it takes a
// context that ends before for a bug, and kills the process.
func (s *Server) finishStart() error {
	timeout := time.After(drainTimeout)
	for _, done := range s.generic.MuxAndDiscoveryCompleteSignals() {
		select {
		case <-done:
		case <-timeout:
			return errors.New("stopped before the custom resources were read")
		}
	}
	return nil
}

// secure sets TLS, identity and permission.
func (s *Server) secure(config *genericapiserver.RecommendedConfig, o Options) error {
	serving := options.NewSecureServingOptions()
	serving.Listener = o.Listener
	serving.ServerCert.CertKey.CertFile = s.creds.file(servingCertFile)
	serving.ServerCert.CertKey.KeyFile = s.creds.file(servingKeyFile)
	serving.MinTLSVersion, serving.CipherSuites = minTLSVersion, cipherSuites
	if err := serving.WithLoopback().ApplyTo(&config.SecureServing, &config.LoopbackClientConfig); err != nil {
		return fmt.Errorf("preparing TLS: %w", err)
	}
	clientCA, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", s.creds.file(trustedFile))
	if err != nil {
		return fmt.Errorf("preparing TLS: %w", err)
	}
	if err := config.Authentication.ApplyClientCert(clientCA, config.SecureServing); err != nil {
		return fmt.Errorf("preparing TLS: %w", err)
	}
	if s.sources, err = openTokenSources(o); err != nil {
		return err
	}
	s.authenticator = newAuthenticator(clientCA, s.sources)
	config.Authentication.Authenticator = s.authenticator
	config.Authorization.Authorizer = authorizer.AuthorizerFunc(authorize)
	return nil
}

// addChecks names the dependencies. Only readiness has any: restarting this
// process mends no other one.
func (s *Server) addChecks(config *genericapiserver.RecommendedConfig, o Options) {
	config.HealthzChecks = []healthz.HealthChecker{healthz.PingHealthz}
	config.LivezChecks = []healthz.HealthChecker{healthz.PingHealthz}
	config.ReadyzChecks = append([]healthz.HealthChecker{
		healthz.PingHealthz,
		Check("postgres", o.Store.Healthy),
		Check("crds", s.Serving),
	}, o.Dependencies.Needed...)
}

// namespaceLifecycle refuses objects in namespaces that do not exist, or go
// away, and the deletion of the namespace default.
func namespaceLifecycle(client kubernetes.Interface, factory informers.SharedInformerFactory) (admission.Interface, error) {
	plugin, err := lifecycle.NewLifecycle(sets.New(metav1.NamespaceDefault))
	if err != nil {
		return nil, fmt.Errorf("building namespace admission: %w", err)
	}
	plugin.SetExternalKubeClientSet(client)
	plugin.SetExternalKubeInformerFactory(factory)
	return plugin, nil
}

func configureOpenAPI(config *genericapiserver.RecommendedConfig) {
	definitions := func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		all := apiextensionsopenapi.GetOpenAPIDefinitions(ref)
		for name, definition := range openapi.GetOpenAPIDefinitions(ref) {
			all[name] = definition
		}
		return all
	}
	namer := openapinamer.NewDefinitionNamer(apiextensionsserver.Scheme, builtins)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	config.OpenAPIConfig.Info.Title = "Runtime Manager"
	config.OpenAPIV3Config.Info.Title = "Runtime Manager"
}

// noServices refuses conversion webhooks that name a Service: there is nothing
// here that could resolve one.
type noServices struct{}

func (noServices) ResolveEndpoint(string, string, int32) (*url.URL, error) {
	return nil, errors.New("services are not served here")
}
