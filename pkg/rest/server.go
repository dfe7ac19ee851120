package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"

	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/tracing"
)

const (
	// headerTimeout bounds the reading of a request's headers.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// defaultReadTimeout bounds the reading of a request with its body, also of one that
	// is refused before: what is left of it is read first.
	defaultReadTimeout = 20 * time.Second
	// answerTimeout bounds a request, but for the time that it is to wait.
	answerTimeout = time.Minute
	maxHeader     = 16 << 10
	// stopTimeout bounds what requests in flight may take when the server stops, and
	// with them a caller who says nothing: the lead is given back after that, and
	// the next leader is promised soon.
	stopTimeout = time.Second
	// forgetEvery is the time between two deletions of old answers.
	forgetEvery = time.Hour
	// defaultMaxWaits bounds the callers that wait at one time.
	defaultMaxWaits = 1000
)

// Options say what is served.
type Options struct {
	// Listener accepts the callers. The server closes it.
	Listener net.Listener
	// Commander reads and writes the records.
	Commander *command.Commander
	// Namespace is that of the Commander.
	Namespace string
	// Informer tells of all records as they change; it is the manager's own.
	Informer Informer
	// Answers are those kept for requests that are made again.
	Answers journal.Answers
	// Identify tells who a request was proven to come from, if it was. Where it is nil
	// everybody is believed, and may do everything.
	Identify func(*http.Request) (identity Identity, proven bool)
	// MaxWaits bounds the callers that wait at one time; 0 is 1000.
	MaxWaits int
	// ReadTimeout bounds the reading of a request; 0 is 20 seconds.
	ReadTimeout time.Duration
	// Traces make a span of each request; nil makes none.
	Traces *tracing.Traces
	Log    logr.Logger
}

// Server is the internal REST API.
type Server struct {
	commander *command.Commander
	answers   journal.Answers
	identify  func(*http.Request) (Identity, bool)
	watch     *watch
	traces    *tracing.Traces
	log       logr.Logger
	metrics   metrics
	http      *http.Server
	listener  net.Listener
	// waits has a place for each caller that may wait.
	waits chan struct{}
	// stopping ends all waits.
	stopping chan struct{}
}

// New builds the server; nothing is served before Start.
func New(o Options) (*Server, error) {
	if o.MaxWaits == 0 {
		o.MaxWaits = defaultMaxWaits
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = defaultReadTimeout
	}
	watch, err := newWatch(o.Informer, o.Namespace)
	if err != nil {
		return nil, err
	}
	s := &Server{
		commander: o.Commander, answers: o.Answers, identify: o.Identify, watch: watch, traces: o.Traces, log: o.Log, listener: o.Listener,
		waits: make(chan struct{}, o.MaxWaits), stopping: make(chan struct{}),
	}
	s.metrics = newMetrics(s.waits)
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: o.ReadTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		WriteTimeout: maxWait + answerTimeout,                                       // from the headers on
		ErrorLog:     slog.NewLogLogger(logr.ToSlogHandler(o.Log), slog.LevelDebug), // what callers did wrong
	}
	return s, nil
}

// NeedLeaderElection says that every replica serves: a wish is a write to a record.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends. Who waits then is told to ask again, and the other
// requests in flight are finished.
func (s *Server) Start(ctx context.Context) error {
	defer s.watch.stop()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	s.log.Info("serving the internal REST API", "address", s.listener.Addr().String())
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	for {
		select {
		case err := <-served:
			return fmt.Errorf("serving the internal REST API: %w", err)
		case <-forget.C:
			if err := s.answers.Forget(ctx); err != nil && ctx.Err() == nil {
				s.log.Info("old answers cannot be deleted", "reason", err.Error())
			}
		case <-ctx.Done():
			return s.stop()
		}
	}
}

func (s *Server) stop() error {
	close(s.stopping)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if err != nil {
		return fmt.Errorf("stopping the internal REST API: %w", err)
	}
	return nil
}
