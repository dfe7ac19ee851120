package lobby

import (
	"errors"
	"fmt"
	"time"
)

// Kind classifies why the Lobby told nothing of a game.
type Kind string

// Kinds of failure.
const (
	// NotFound: the Lobby has no such game. Under a wrong base URL that is said
	// of every game.
	NotFound Kind = "not_found"
	// Invalid: the game's id is none that the Lobby could be asked about.
	Invalid Kind = "invalid"
	// Refused: the Lobby does not take our credentials or our request, or we do
	// not trust its certificate. Somebody has to set that right.
	Refused Kind = "refused"
	// Malformed: the answer is not what was agreed on.
	Malformed Kind = "malformed"
	// Busy: the Lobby asks us to come again later.
	Busy Kind = "busy"
	// Unavailable: the Lobby fails, or cannot be reached.
	Unavailable Kind = "unavailable"
	// Timeout: no whole answer came in time.
	Timeout Kind = "timeout"
	// CircuitOpen: the Lobby was not asked, for it failed several times in a row.
	CircuitOpen Kind = "circuit_open"
	// Canceled: the caller's context ended first.
	Canceled Kind = "canceled"
)

// traits are what follows from a kind of failure.
type traits struct {
	code string
	// retried failures may pass within the question's deadline; those that count
	// open the circuit when they come in a row.
	retried, counts bool
}

var kinds = map[Kind]traits{
	NotFound:    {code: "not_found"},
	Invalid:     {code: "invalid_request"},
	Refused:     {code: "internal_error"},
	Malformed:   {code: "internal_error"},
	Busy:        {code: "service_unavailable", retried: true},
	Unavailable: {code: "service_unavailable", retried: true, counts: true},
	Timeout:     {code: "timeout", retried: true, counts: true},
	CircuitOpen: {code: "service_unavailable"},
	Canceled:    {code: "timeout"},
}

// Code returns the error code that clients are told.
func (k Kind) Code() string { return kinds[k].code }

// Error is a failure to learn of a game. Neither a token nor what the Lobby
// wrote is in its text.
type Error struct {
	Game string
	Kind Kind
	Err  error

	after time.Duration // that the Lobby asked us to wait
}

func (e *Error) Error() string { return fmt.Sprintf("ask the Lobby for game %q: %v", e.Game, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of a failure: "" for nil, Unavailable for an error that
// is none of this package's.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unavailable
}
