package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
)

// Answer is what is answered about one game, and all that fails.
type Answer struct {
	Result command.Result `json:"result"`
	// Runtime is absent where the game has no record, or it could not be read.
	Runtime *Runtime `json:"runtime,omitempty"`
}

// ListAnswer is a page of games.
type ListAnswer struct {
	Result   command.Result `json:"result"`
	Runtimes []Runtime      `json:"runtimes"`
	// Continue asks for the next page; empty on the last.
	Continue string `json:"continue,omitempty"`
	// Remaining is how many games follow, as far as it is known.
	Remaining *int64 `json:"remaining,omitempty"`
}

// statuses are those of HTTP for the error codes.
var statuses = map[string]int{
	v1alpha1.CodeInvalidRequest:       http.StatusBadRequest,
	v1alpha1.CodeImageRefNotSemver:    http.StatusBadRequest,
	v1alpha1.CodeUnauthenticated:      http.StatusUnauthorized,
	v1alpha1.CodeForbidden:            http.StatusForbidden,
	v1alpha1.CodeNotFound:             http.StatusNotFound,
	v1alpha1.CodeConflict:             http.StatusConflict,
	v1alpha1.CodeSemverPatchOnly:      http.StatusConflict,
	v1alpha1.CodeStartConfigInvalid:   http.StatusUnprocessableEntity,
	v1alpha1.CodeRateLimited:          http.StatusTooManyRequests,
	v1alpha1.CodeInternalError:        http.StatusInternalServerError,
	v1alpha1.CodeImagePullFailed:      http.StatusBadGateway,
	v1alpha1.CodeContainerStartFailed: http.StatusBadGateway,
	v1alpha1.CodeDockerUnavailable:    http.StatusServiceUnavailable,
	v1alpha1.CodeServiceUnavailable:   http.StatusServiceUnavailable,
	v1alpha1.CodeTimeout:              http.StatusGatewayTimeout,
	v1alpha1.CodeReplayNoOp:           http.StatusOK,
	"":                                http.StatusOK,
}

// statusOf is that of a result; a code that the table lacks is an error of ours.
func statusOf(result command.Result) int {
	if status, known := statuses[result.ErrorCode]; known {
		return status
	}
	return http.StatusInternalServerError
}

// reply is an answer before it is sent.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func newReply(status int, answer any) reply {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answer); err != nil {
		panic(err) // the types are ours: a programming error
	}
	return reply{status: status, header: http.Header{}, body: body.Bytes()}
}

// about is the answer about a game as its record stands.
func about(status int, result command.Result, record *v1alpha1.GameRuntime) reply {
	if record == nil {
		return newReply(status, Answer{Result: result})
	}
	r := newReply(status, Answer{Result: result, Runtime: view(record)})
	r.header.Set("ETag", etag(record.ResourceVersion))
	return r
}

// failed is the answer to what could not be done. What its error names is told as
// the caller knows it.
func failed(err error) reply {
	var e *command.Error
	if errors.As(err, &e) {
		if name, ok := names[e.Field]; ok {
			told := *e
			told.Field = name
			err = &told
		}
	}
	result := command.Failed(err)
	r := newReply(statusOf(result), Answer{Result: result})
	if e != nil && e.Retryable {
		r.retryAfter()
	}
	return r
}

// retryAfter tells that the same request may be made again, and to rest first.
func (r *reply) retryAfter() { r.header.Set("Retry-After", "1") }

// names are where the parts of a wish stand in a request.
var names = map[string]string{"game": "game_id", "caller": headerCaller, "id": headerKey, "revision": "If-Match"}

func invalid(field, format string, args ...any) error {
	return &command.Error{Code: v1alpha1.CodeInvalidRequest, Field: field, Message: fmt.Sprintf(format, args...)}
}

func (r reply) send(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	if r.status != http.StatusNotModified && w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // who asked may have gone
}
