package v1alpha1

import (
	"strconv"
	"strings"
)

// AnnotationTrace holds the trace of the write that a record's spec is from, and the
// generation that this write made. The API server writes it, or who writes the
// record, where the write belongs to a trace that is kept; nothing depends on it.
const AnnotationTrace = "runtime.galaxy.io/trace"

// TraceOf is the value of AnnotationTrace for a write that makes a generation, by its
// traceparent as W3C Trace Context has it.
func TraceOf(generation int64, traceparent string) string {
	return strconv.FormatInt(generation, 10) + "/" + traceparent
}

// Traceparent is that of the write which the record's generation is from; empty
// where nobody told of one.
func (r *GameRuntime) Traceparent() string {
	generation, traceparent, _ := strings.Cut(r.Annotations[AnnotationTrace], "/")
	if generation != strconv.FormatInt(r.Generation, 10) {
		return ""
	}
	return traceparent
}
