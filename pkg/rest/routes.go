package rest

import (
	_ "embed"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"sigs.k8s.io/yaml"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
)

// root is where the API begins.
const root = "/api/v1/internal"

// contract is what the API promises.
//
//go:embed openapi.yaml
var contract []byte

// contractJSON is the contract for programs that read no YAML.
var contractJSON = func() []byte {
	converted, err := yaml.YAMLToJSON(contract)
	if err != nil {
		panic(err) // it is compiled in: a programming error
	}
	return converted
}()

// handler answers a request, on which it may read.
type handler func(w http.ResponseWriter, r *http.Request) reply

// methods are the handlers of one path.
type methods map[string]handler

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for path, methods := range map[string]methods{
		"/runtimes":                {http.MethodGet: permitted(s.list, "list")},
		"/runtimes/{game}":         {http.MethodGet: permitted(s.get, "get"), http.MethodDelete: permitted(s.wish(command.VerbCleanUp), "delete")},
		"/runtimes/{game}/start":   {http.MethodPost: permitted(s.wish(command.VerbStart), "create", "patch")},
		"/runtimes/{game}/stop":    {http.MethodPost: permitted(s.wish(command.VerbStop), "patch")},
		"/runtimes/{game}/restart": {http.MethodPost: permitted(s.wish(command.VerbRestart), "patch")},
		"/runtimes/{game}/patch":   {http.MethodPost: permitted(s.wish(command.VerbPatch), "patch")},
		"/openapi.yaml":            {http.MethodGet: document("application/yaml", contract)},
		"/openapi.json":            {http.MethodGet: document("application/json", contractJSON)},
	} {
		answer := s.traced(path, methods.answer)
		mux.HandleFunc(root+path, func(w http.ResponseWriter, r *http.Request) { answer(w, r).send(w) })
	}
	return s.around(s.identified(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The mux would redirect what is not clean, and in words of its own.
		if _, pattern := mux.Handler(r); pattern == "" || !clean(r.URL.Path) {
			failed(&command.Error{Code: v1alpha1.CodeNotFound, Message: "there is nothing at this path"}).send(w)
			return
		}
		mux.ServeHTTP(w, r)
	})))
}

// clean says that each segment of a path is one.
func clean(path string) bool {
	return !slices.ContainsFunc(strings.Split(path, "/")[1:], func(segment string) bool {
		return segment == "" || segment == "." || segment == ".."
	})
}

func (m methods) answer(w http.ResponseWriter, r *http.Request) reply {
	if handle, ok := m[r.Method]; ok {
		return handle(w, r)
	}
	var allowed []string
	for method := range m {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	refusal := failed(invalid("method", "must be %s here", strings.Join(allowed, " or ")))
	refusal.status = http.StatusMethodNotAllowed
	refusal.header.Set("Allow", strings.Join(allowed, ", "))
	return refusal
}

func document(kind string, content []byte) handler {
	return func(http.ResponseWriter, *http.Request) reply {
		return reply{status: http.StatusOK, header: http.Header{"Content-Type": {kind}}, body: content}
	}
}

// around is what is done for every request: it has an id, in the answer and in the
// log, and one in which we panic is answered like all others.
func (s *Server) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, began := requestID(r), time.Now()
		r.Header.Set(headerRequestID, id)
		w.Header().Set(headerRequestID, id)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		sent := &recorder{ResponseWriter: w}
		defer func() {
			if cause := recover(); cause != nil {
				s.log.Error(nil, "a request met an error of ours", "request", id, "path", r.URL.Path, "cause", cause, "stack", string(debug.Stack()))
				if sent.status == 0 {
					failed(&command.Error{Code: v1alpha1.CodeInternalError, Message: "an error of ours: see the log for request " + id}).send(sent)
				}
			}
			s.metrics.count(r, sent.status, time.Since(began))
			s.log.V(1).Info("answered", "request", id, "caller", r.Header.Get(headerCaller), "method", r.Method, "path", r.URL.Path,
				"status", sent.status, "took", time.Since(began))
		}()
		next.ServeHTTP(sent, r)
	})
}

// recorder knows the status that was sent.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// requestID is the caller's own, if it is one that fits into a line of the log.
func requestID(r *http.Request) string {
	const longest = 64
	given := r.Header.Get(headerRequestID)
	if given == "" || len(given) > longest || strings.ContainsFunc(given, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return uuid.NewString()
	}
	return given
}
