package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/registry/generic"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/pkg/tracing"
)

// Store keeps the objects: a *store.Backend, or what it is measured against.
type Store interface {
	RESTOptionsGetter(codecFor func(schema.GroupResource) runtime.Codec) generic.RESTOptionsGetter
	// Healthy is the database's part of /readyz.
	Healthy(ctx context.Context) error
	// FollowOwners names, until ctx ends, each object that the garbage collector
	// has to judge, and Dependents finds those that name an owner. A store that
	// knows neither has no garbage collection.
	FollowOwners(ctx context.Context, look func(corev1.ObjectReference))
	Dependents(ctx context.Context, owner types.UID) ([]metav1.PartialObjectMetadata, error)
}

// Options say what to serve, from where and to whom.
type Options struct {
	Store Store
	// Dir is the data directory: pki/ and kubeconfig are kept in it.
	Dir string
	// Listener accepts the clients. The server closes it.
	Listener net.Listener
	// TokenFile holds bearer tokens, and AuthenticationConfig names the issuers of
	// others, each in Kubernetes' form; both are read again when they change. Empty
	// is none.
	TokenFile, AuthenticationConfig string
	// Hosts are further names and addresses that clients know the server by.
	Hosts []string
	// Audit is what is written down of the requests.
	Audit AuditOptions
	// CRDs holds the YAML of the custom resource definitions, one a file.
	CRDs fs.FS
	// Dependencies are those that /readyz names besides the server's own.
	Dependencies Dependencies
	// History is behind the subresource history of games; nil serves none.
	History HistoryReader
	// Plan is behind the subresource plan of games; nil serves none.
	Plan Planner
	// Console is behind the subresources log, exec and stats of games; nil serves
	// none.
	Console *Console
	// Version is the build that `kubectl version` shows.
	Version string
	// Traces make a span of each write to a game's record; nil makes none.
	Traces *tracing.Traces
	Log    logr.Logger
}

// Server is a Kubernetes API server inside this process.
type Server struct {
	generic *genericapiserver.GenericAPIServer
	// authenticator knows people, and not the loopback client.
	authenticator authenticator.Request
	cleaner       *namespaceCleaner
	collector     *garbageCollector
	client        kubernetes.Interface
	extensions    apiextensionsclient.Interface
	// subresources are those that the definitions cannot declare.
	subresources subresources
	crds         []crd
	creds        credentials
	sources      []tokenSource
	log          logr.Logger
	// sessions ends with endSessions, and what lasts as long as a client likes
	// with it.
	sessions    context.Context
	endSessions context.CancelFunc

	ready chan struct{}
	// waiting holds why it is not ready yet, nil once it is.
	waiting atomic.Pointer[error]
}

// pollInterval paces the start, and the wait for a database that is away.
const pollInterval = 50 * time.Millisecond

// New opens the data directory and builds the server; nothing is served before Run.
func New(o Options) (*Server, error) {
	crds, err := readCRDs(o.CRDs)
	if err != nil {
		return nil, err
	}
	creds, err := openCredentials(o.Dir, o.Listener.Addr(), o.Hosts, time.Now())
	if err != nil {
		return nil, err
	}
	s := &Server{crds: crds, creds: creds, log: o.Log, ready: make(chan struct{})}
	s.sessions, s.endSessions = context.WithCancel(context.Background())
	s.setWaiting(errors.New("starting"))
	if err := s.assemble(o); err != nil {
		return nil, err
	}
	return s, nil
}

// Serving tells by an error why clients cannot rely on all resources yet.
func (s *Server) Serving(context.Context) error { return *s.waiting.Load() }

// ClientConfig reaches this server from within the process, as a member of
// system:masters and without a rate limit. Every call returns a copy.
func (s *Server) ClientConfig() *rest.Config {
	return loopback(s.generic.LoopbackClientConfig)
}

// Kubeconfig is the path of the file that lets an administrator in.
func (s *Server) Kubeconfig() string { return s.creds.kubeconfig }

// Ready is closed once the namespace default exists and clients find every
// custom resource.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends, then lets the requests in flight finish. It
// returns early when it can never become ready.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	context.AfterFunc(ctx, s.endSessions) // the requests in flight are waited for
	group.Go(func() error {
		if err := s.generic.PrepareRun().RunWithContext(ctx); err != nil {
			return fmt.Errorf("serving the API: %w", err)
		}
		return nil
	})
	group.Go(func() error { return s.bootstrap(ctx) })
	for _, run := range []func(context.Context){s.cleaner.run, s.collector.run} {
		group.Go(func() error {
			select {
			case <-ctx.Done():
			case <-s.ready:
			}
			run(ctx)
			return nil
		})
	}
	group.Go(func() error {
		s.creds.renew(ctx, clock.RealClock{}, s.log)
		return nil
	})
	for _, source := range s.sources {
		group.Go(func() error {
			source.run(ctx, s.log)
			return nil
		})
	}
	return group.Wait()
}

// bootstrap brings the API to the state that all clients may rely on. A step
// that fails for want of a dependency is tried again, and /readyz says so; what
// the server refuses is an error of ours.
func (s *Server) bootstrap(ctx context.Context) error {
	for _, step := range []func(context.Context) error{s.createDefaultNamespace, s.applyCRDs, s.meetCRDs} {
		err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
			err := step(ctx)
			if err == nil {
				return true, nil
			}
			s.setWaiting(err)
			if refused(err) {
				return false, err
			}
			return false, nil
		})
		if wait.Interrupted(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("preparing the API: %w", err)
		}
	}
	s.setWaiting(nil)
	close(s.ready)
	s.log.Info("serving the Kubernetes API", "address", s.creds.server, "kubeconfig", s.creds.kubeconfig)
	return nil
}

func (s *Server) createDefaultNamespace(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceDefault}}
	_, err := s.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating the namespace %s: %w", ns.Name, err)
	}
	return nil
}

func (s *Server) applyCRDs(ctx context.Context) error {
	for _, c := range s.crds {
		if err := c.apply(ctx, s.extensions); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) meetCRDs(ctx context.Context) error {
	for _, c := range s.crds {
		if err := c.served(ctx, s.client.Discovery()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) setWaiting(err error) { s.waiting.Store(&err) }

func loopback(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.QPS = -1
	return c
}
