package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// classify turns a failure of the database into what an API client is told: 504
// where the outcome is unknown, 503 where nothing happened and a retry is
// right. What is our own mistake stays an internal error.
func classify(doing, what string, err error) error {
	var ours *pgconn.PgError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return apierrors.NewTimeoutError(fmt.Sprintf("%s %s: the database did not answer in time", doing, what), 1)
	case errors.As(err, &ours) && !refused(ours.Code):
		return apierrors.NewInternalError(fmt.Errorf("%s %s: %w", doing, what, err))
	case errors.As(err, &ours), pgconn.SafeToRetry(err):
		return apierrors.NewServiceUnavailable(fmt.Sprintf("%s %s: the database is not available", doing, what))
	default: // the connection broke with a query under way
		return apierrors.NewTimeoutError(fmt.Sprintf("%s %s: the connection to the database was lost", doing, what), 1)
	}
}

// refused are PostgreSQL's classes of errors that say that it could not serve
// at the moment: connection, transaction rollback, resources, operator
// intervention, and a standby that only reads.
func refused(code string) bool {
	if code == "25006" {
		return true
	}
	switch code[:2] {
	case "08", "40", "53", "57":
		return true
	}
	return false
}
