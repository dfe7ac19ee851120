package apiserver

import (
	"context"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/server/healthz"
)

// checkTimeout bounds one look at a dependency: a database that hangs is as
// good as one that is gone.
const checkTimeout = 2 * time.Second

// Check names a dependency for /readyz; an error makes it fail. The error is
// logged, and shown only to those who may read /readyz/<name>.
func Check(name string, check func(context.Context) error) healthz.HealthChecker {
	return healthz.NamedCheck(name, func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		return check(ctx)
	})
}
