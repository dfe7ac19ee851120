package apiserver

import (
	"context"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// tracedVerbs are the writes.
var tracedVerbs = []string{"create", "update", "patch", "delete", "deletecollection"}

// traced makes a span of each write to a game's record. Upstream's own filter would
// make one of every request, of each renewal of a lease too, and takes no caller's
// trace for its own but an administrator's. This one stands behind authorisation:
// who comes here may write, and may say why. Upstream's spans of what is inside of a
// request are below ours.
func traced(traces *tracing.Traces, next http.Handler) http.Handler {
	if traces == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		info, known := genericapirequest.RequestInfoFrom(req.Context())
		ctx := traces.FromRequest(req)
		if !known || !writesGame(info) || beginsNone(ctx) {
			next.ServeHTTP(w, req)
			return
		}
		name := info.Verb + " " + info.Resource
		if info.Subresource != "" {
			name += "/" + info.Subresource
		}
		ctx, span := traces.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("namespace", info.Namespace), attribute.String("name", info.Name), attribute.String("user", writer(ctx)),
			attribute.String("user_agent.original", req.UserAgent()),
		))
		defer span.End()
		answered := &answeredWith{ResponseWriter: w, status: http.StatusOK}
		ctx = context.WithValue(ctx, writeKey{}, tracing.Parent(ctx))
		next.ServeHTTP(answered, req.WithContext(ctx)) // no write's answer is flushed or hijacked
		span.SetAttributes(attribute.Int("http.response.status_code", answered.status))
		if answered.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(answered.status))
		}
	})
}

// writesGame says that a request writes a record or its status.
func writesGame(info *genericapirequest.RequestInfo) bool {
	return info.IsResourceRequest && info.APIGroup == gameRuntimes.Group && info.Resource == gameRuntimes.Resource &&
		(info.Subresource == "" || info.Subresource == "status") && slices.Contains(tracedVerbs, info.Verb)
}

// beginsNone says that a request is the manager's own and belongs to no trace: what
// the loop writes of itself is none.
func beginsNone(ctx context.Context) bool {
	return writer(ctx) == user.APIServerUser && !trace.SpanContextFromContext(ctx).IsValid()
}

func writer(ctx context.Context) string {
	if who, known := genericapirequest.UserFrom(ctx); known {
		return who.GetName()
	}
	return ""
}

// answeredWith knows the status of an answer.
type answeredWith struct {
	http.ResponseWriter
	status int
}

func (w *answeredWith) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *answeredWith) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// writeKey is where the context of a write has the traceparent of its span. Below it
// upstream begins others.
type writeKey struct{}

// traceMark has a record remember the trace of the write that its spec is from, so
// that the loop can go on with it, in whichever process. It is part of no dry run,
// and nobody's field: an apply neither takes it away nor is refused for it.
type traceMark struct{}

// Handles implements admission.Interface.
func (traceMark) Handles(operation admission.Operation) bool {
	return operation == admission.Create || operation == admission.Update
}

// Admit implements admission.MutationInterface.
func (traceMark) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	traceparent, _ := ctx.Value(writeKey{}).(string)
	if traceparent == "" || a.IsDryRun() || a.GetSubresource() != "" || a.GetResource().GroupResource() != gameRuntimes.GroupResource() {
		return nil
	}
	record, ok := a.GetObject().(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	generation := int64(1)
	if before, ok := a.GetOldObject().(*unstructured.Unstructured); ok && a.GetOperation() == admission.Update {
		if equality.Semantic.DeepEqual(before.Object["spec"], record.Object["spec"]) {
			return nil
		}
		generation = before.GetGeneration() + 1
	}
	annotations := record.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationTrace] = v1alpha1.TraceOf(generation, traceparent)
	record.SetAnnotations(annotations)
	return nil
}
