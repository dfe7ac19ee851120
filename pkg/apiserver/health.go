package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/server/healthz"
)

// Dependencies are what /readyz names, see Check.
type Dependencies struct {
	// Needed make it fail: without them requests are not answered.
	Needed []healthz.HealthChecker
	// Used are those that requests are answered without, if less comes of them. It
	// tells of them as degraded, and does not fail: who takes a manager out of
	// service for its engine keeps people from seeing what is wrong.
	Used []healthz.HealthChecker
}

// Handler serves /livez and /readyz, and the reasons below them. It asks nobody
// who they are.
func (d Dependencies) Handler() http.Handler {
	mux := http.NewServeMux()
	healthz.InstallLivezHandler(mux, healthz.PingHealthz)
	healthz.InstallReadyzHandler(mux, append([]healthz.HealthChecker{healthz.PingHealthz}, d.Needed...)...)
	return d.tell(mux)
}

const readyz = "/readyz"

// tell adds what is used to what next tells of readiness.
func (d Dependencies) tell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == readyz {
			d.complete(w, r, next)
			return
		}
		for _, check := range d.Used {
			if r.URL.Path != readyz+"/"+check.Name() {
				continue
			}
			if err := check.Check(r); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = fmt.Fprint(w, "ok") // who asked may have gone
			return
		}
		next.ServeHTTP(w, r)
	})
}

// complete puts lines in front of the last one, the verdict, if there is more than that.
func (d Dependencies) complete(w http.ResponseWriter, r *http.Request, next http.Handler) {
	answer := &heldResponse{ResponseWriter: w, code: http.StatusOK}
	next.ServeHTTP(answer, r)
	body := answer.body.String()
	if verdict := strings.LastIndex(body, "readyz check "); verdict >= 0 {
		body = body[:verdict] + d.lines(r) + body[verdict:]
	}
	w.WriteHeader(answer.code)
	_, _ = fmt.Fprint(w, body) // who asked may have gone
}

func (d Dependencies) lines(r *http.Request) string {
	var lines strings.Builder
	for _, check := range d.Used {
		line := "[+]%s ok\n"
		if check.Check(r) != nil {
			line = "[~]%s degraded: reason withheld\n"
		}
		fmt.Fprintf(&lines, line, check.Name())
	}
	return lines.String()
}

// checkTimeout bounds one look at a dependency: a database that hangs is as
// good as one that is gone.
const checkTimeout = 2 * time.Second

// Check names a dependency for /readyz. The error is shown only to those who may
// read /readyz/<name>.
func Check(name string, check func(context.Context) error) healthz.HealthChecker {
	return healthz.NamedCheck(name, func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		return check(ctx)
	})
}
