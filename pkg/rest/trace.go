package rest

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// traced makes a span of each request that there is a path for.
func (s *Server) traced(path string, handle handler) handler {
	if s.traces == nil {
		return handle
	}
	return func(w http.ResponseWriter, r *http.Request) reply {
		ctx, span := s.traces.Start(s.traces.FromRequest(r), r.Method+" "+root+path, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("game", r.PathValue("game")), attribute.String("caller", r.Header.Get(headerCaller)),
			attribute.String("request", r.Header.Get(headerRequestID)),
		))
		defer span.End()
		answer := handle(w, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", answer.status))
		if answer.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(answer.status))
		}
		return answer
	}
}
