package command

import (
	"errors"
	"fmt"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Error is why a wish is not in the record. It is the only error that a Commander
// returns.
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

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%s: %s: %s", e.Code, e.Field, e.Message)
}

func (e *Error) Unwrap() error { return e.cause }

// Failed is the result that an error comes to.
func Failed(err error) Result {
	var e *Error
	if !errors.As(err, &e) {
		return Result{Outcome: Failure, ErrorCode: v1alpha1.CodeInternalError, Message: "an error of our own"}
	}
	message := e.Message
	if e.Field != "" {
		message = e.Field + ": " + message
	}
	return Result{Outcome: Failure, ErrorCode: e.Code, Message: message}
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Code: v1alpha1.CodeInvalidRequest, Field: field, Message: fmt.Sprintf(format, args...)}
}
