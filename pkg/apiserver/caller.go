package apiserver

import (
	"context"
	"net/http"
	"slices"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Public says that a path answers anybody.
func Public(path string) bool { return slices.Contains(probePaths, path) }

// Authenticate tells who a request to another server of this process was proven to
// come from, as if it had come to this one. That server asks for certificates by a
// configuration of [TLS].
func (s *Server) Authenticate(req *http.Request) (user.Info, bool) {
	response, known, err := s.authenticator.AuthenticateRequest(req)
	if err != nil {
		s.log.V(1).Info("refused a request", "path", req.URL.Path, "reason", err.Error())
	}
	if err != nil || !known {
		return nil, false
	}
	return response.User, true
}

// May says whether this server would let somebody do this.
func (s *Server) May(ctx context.Context, attributes authorizer.Attributes) bool {
	decision, _, err := s.generic.Authorizer.Authorize(ctx, attributes)
	return err == nil && decision == authorizer.DecisionAllow
}
