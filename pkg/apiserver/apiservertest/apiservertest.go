// Package apiservertest gives a test the API server on a real PostgreSQL, as the
// manager serves it, and with nobody behind it: what is written stays as it is.
package apiservertest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

// patience is how long a server may take to start, or to stop.
const patience = 30 * time.Second

// Server is a running API server.
type Server struct {
	t      testing.TB
	server *apiserver.Server
	stop   func()
}

// Main runs a package's tests, and quiets the API server's libraries.
func Main(m *testing.M) {
	klog.SetLogger(logr.Discard())
	postgrestest.Main(m)
}

// Start starts a server in a schema of its own, which ends with the test. A test
// may change what it is told.
func Start(t testing.TB, change ...func(*apiserver.Options)) *Server {
	t.Helper()
	pool := postgrestest.Schema(t)
	backend, err := store.Open(context.Background(), store.Options{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	options := apiserver.Options{
		Store: backend, Dir: t.TempDir(), Listener: listener, CRDs: config.CRDs, Version: "v0.0.0", Log: logr.Discard(),
	}
	for _, c := range change {
		c(&options)
	}
	server, err := apiserver.New(options)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, server: server}
	s.run()
	return s
}

func (s *Server) run() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
	s.t.Cleanup(s.stop)
	select {
	case <-s.server.Ready():
	case err := <-done:
		s.t.Fatalf("the API server gave up: %v", err)
	case <-time.After(patience):
		s.t.Fatal("the API server is not ready")
	}
}

// Stop stops the server for good.
func (s *Server) Stop() { s.stop() }

// Config reaches the server with every right.
func (s *Server) Config() *rest.Config { return s.server.ClientConfig() }

// Kubeconfig is the path of its administrator's kubeconfig.
func (s *Server) Kubeconfig() string { return s.server.Kubeconfig() }

// Namespace makes a namespace, and returns its name.
func (s *Server) Namespace(t testing.TB, name string) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(context.Background(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}
