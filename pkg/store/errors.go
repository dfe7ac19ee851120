package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// kind is what is known of a call to the database.
type kind int

const (
	// done: it answered.
	done kind = iota
	// notDone: nothing happened, and it may work soon.
	notDone
	// refused: nothing happened, and somebody must do something first.
	refused
	// unknown: the connection broke, or time ran out, with the call under way.
	unknown
	// faulty: it does not take what we said. That is our mistake.
	faulty
)

// errClosed is the answer of a store that was closed.
var errClosed = errors.New("the store is closed")

// kindOf tells by PostgreSQL's error codes. A server that is told to stop ends
// what is under way before its commit (57P01); one that crashed may have
// committed it (57P02).
func kindOf(err error) kind {
	var connecting *pgconn.ConnectError
	var said *pgconn.PgError
	switch {
	case err == nil:
		return done
	case errors.Is(err, errClosed), errors.As(err, &connecting), pgconn.SafeToRetry(err):
		return notDone
	case !errors.As(err, &said):
		return unknown
	}
	switch said.Code {
	case "55P03", "57P01", "57P03": // a wait for a lock, or the server, that ended
		return notDone
	case "57P02":
		return unknown
	case "25006": // a standby, or one that was made read-only
		return refused
	}
	switch said.Code[:2] {
	case "40": // rolled back: serialization, deadlock
		return notDone
	case "08", "53", "57", "58": // connection, resources, operator, input and output
		return refused
	}
	return faulty
}

// classify turns a failure of the database into what an API client is told: 504
// where the outcome is unknown, 503 where nothing happened. What is our own
// mistake stays an internal error.
func classify(doing, what string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return apierrors.NewTimeoutError(fmt.Sprintf("%s %s: the database did not answer in time", doing, what), 1)
	}
	switch kindOf(err) {
	case notDone:
		return apierrors.NewServiceUnavailable(fmt.Sprintf("%s %s: the database is not available: %s", doing, what, reason(err)))
	case refused:
		return apierrors.NewServiceUnavailable(fmt.Sprintf("%s %s: the database refused: %s", doing, what, reason(err)))
	case unknown:
		return apierrors.NewTimeoutError(fmt.Sprintf("%s %s: the connection to the database was lost", doing, what), 1)
	default:
		return apierrors.NewInternalError(fmt.Errorf("%s %s: %w", doing, what, err))
	}
}

// reason names what the database answers, or refuses, with. Its own words may hold a path of
// the host, which is nothing for a client.
func reason(err error) string {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return "it cannot be reached"
	}
	switch said.Code {
	case "25006":
		return "it is read-only"
	case "53100":
		return "its disk is full"
	case "53200":
		return "it is out of memory"
	case "53300":
		return "it has too many connections"
	case "57014":
		return "it canceled the statement"
	case "57P01", "57P03":
		return "it is starting or stopping"
	}
	return "error " + said.Code
}
