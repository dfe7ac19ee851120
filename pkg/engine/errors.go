package engine

import (
	"errors"
	"fmt"
)

// Kind classifies an engine's failure, once, at the adapter that knows.
type Kind string

// Kinds of failure.
const (
	// Unreachable: the engine does not answer.
	Unreachable Kind = "Unreachable"
	// Timeout: the call's deadline passed; its outcome is unknown.
	Timeout Kind = "Timeout"
	// NotFound: no such container or image.
	NotFound Kind = "NotFound"
	// NotRunning: what was asked for takes a container that runs.
	NotRunning Kind = "NotRunning"
	// NameConflict: the container name is in use.
	NameConflict Kind = "NameConflict"
	// PortConflict: a host port is in use.
	PortConflict Kind = "PortConflict"
	// PullFailed: the registry or the network refused the image.
	PullFailed Kind = "PullFailed"
	// Invalid: the engine refuses the container's specification.
	Invalid Kind = "Invalid"
	// MountFailed: the state directory could not be mounted.
	MountFailed Kind = "MountFailed"
	// ProgramFailed: the image's program cannot be run: it is missing, or no
	// program.
	ProgramFailed Kind = "ProgramFailed"
	// StartFailed: the runtime could not start the container for another reason.
	StartFailed Kind = "StartFailed"
	// Failed: anything else.
	Failed Kind = "Failed"
)

// Error is an engine's failure: what was being done, its kind and its cause.
type Error struct {
	// Op is what was being done: "create container chess".
	Op   string
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an engine's failure: "" for nil, Failed for an
// error that no adapter classified.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Failed
}
