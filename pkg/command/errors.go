package command

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Error is why a wish does not stand in the record, or is not known to.
type Error struct {
	// Code is one of v1alpha1.Codes.
	Code    string
	Message string
	// Field is the part of the wish at fault, where one is: game, caller, id, image,
	// revision, or a path of the record such as spec.env[0].name.
	Field string
	// Retryable: the same wish may come true if it is made again as it is.
	Retryable bool
	cause     error
}

func (e *Error) Error() string { return e.Code + ": " + e.told() }

func (e *Error) Unwrap() error { return e.cause }

func (e *Error) told() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Failed is the result that the error of a Commander comes to.
func Failed(err error) Result {
	e := classify(err)
	return Result{Outcome: Failure, ErrorCode: e.Code, Message: e.told()}
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Code: v1alpha1.CodeInvalidRequest, Field: field, Message: fmt.Sprintf(format, args...)}
}

// classify is the one place where what the API server answers becomes a code.
func classify(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return away(err)
	}
	status := answered.Status()
	conflict := status.Code == http.StatusConflict
	switch {
	case status.Reason == metav1.StatusReasonInvalid:
		return refused(status, err)
	case transient(err) && !conflict:
		return away(err)
	}
	return &Error{Code: codeOf(int(status.Code)), Message: status.Message, Retryable: conflict, cause: err}
}

// codeOf is the code of an answer that lasts.
func codeOf(status int) string {
	switch status {
	case http.StatusConflict:
		return v1alpha1.CodeConflict
	case http.StatusForbidden:
		return v1alpha1.CodeForbidden
	case http.StatusNotFound:
		return v1alpha1.CodeNotFound
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return v1alpha1.CodeInvalidRequest
	default: // such as 401: the API server does not know us, and not who asks
		return v1alpha1.CodeInternalError
	}
}

// away is an API server that does not answer, or not with an answer. What the
// error says is not for services: it names addresses.
func away(err error) *Error {
	return &Error{
		Code: v1alpha1.CodeServiceUnavailable, Message: "the records cannot be reached now: ask again", Retryable: true, cause: err,
	}
}

// refused is what speaks against a record as the wish would leave it. Which rule
// on the image it is, is told by the kind of its cause: see GameRuntimeSpec.
func refused(status metav1.Status, err error) *Error {
	var causes []metav1.StatusCause
	if status.Details != nil {
		causes = status.Details.Causes
	}
	e := &Error{Code: v1alpha1.CodeInvalidRequest, Message: status.Message, cause: err}
	for _, cause := range causes {
		if cause.Field == "<nil>" {
			continue // that not all was looked at
		}
		code := v1alpha1.CodeInvalidRequest
		switch image := cause.Field == "spec.image"; {
		case image && cause.Type == metav1.CauseTypeFieldValueRequired:
			code = v1alpha1.CodeImageRefNotSemver
		case image && cause.Type == metav1.CauseTypeForbidden:
			code = v1alpha1.CodeSemverPatchOnly
		case !image && strings.HasPrefix(cause.Field, "spec"):
			code = v1alpha1.CodeStartConfigInvalid
		}
		if e.Field == "" || code == v1alpha1.CodeInvalidRequest && e.Code != code {
			e.Code, e.Field, e.Message = code, cause.Field, cause.Message
		}
	}
	return e
}

// transient says that the same may be answered otherwise in a moment.
func transient(err error) bool {
	var known *Error
	if errors.As(err, &known) {
		return false
	}
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return true // the API server was not reached, or its answer was lost
	}
	code := answered.Status().Code
	return code == http.StatusConflict || code == http.StatusTooManyRequests || code >= 500
}
