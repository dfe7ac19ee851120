package apiserver

import (
	"fmt"
	"slices"

	apiserverconfig "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/path"
	authzunion "k8s.io/apiserver/pkg/authorization/union"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// The groups whose members may do something, each more than the next: admins
// everything, as does the user of the kubeconfig in the data directory; writers
// declare games, viewers look. Controllers are managers: they alone write status.
const (
	GroupAdmins      = "galaxy:admins"
	GroupWriters     = "galaxy:writers"
	GroupViewers     = "galaxy:viewers"
	GroupControllers = "galaxy:controllers"
)

// probePaths answer anybody: a load balancer has no certificate. They name
// the dependencies that fail, and withhold why.
var probePaths = []string{"/healthz", "/livez", "/readyz"}

// discoveryPaths answer whoever is authenticated: without them no client
// knows what it could ask for.
var discoveryPaths = []string{
	"/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version", "/version/",
}

// newAuthenticator knows people by the certificates that our own authority
// signed. The server adds a token of its own, for the loopback client.
func newAuthenticator(clientCA dynamiccertificates.CAContentProvider) authenticator.Request {
	certificates := x509.NewDynamic(clientCA.VerifyOptions, x509.CommonNameUserConversion)
	conditions := make([]apiserverconfig.AnonymousAuthCondition, 0, len(probePaths))
	for _, p := range probePaths {
		conditions = append(conditions, apiserverconfig.AnonymousAuthCondition{Path: p})
	}
	return union.New(
		group.NewAuthenticatedGroupAdder(certificates),
		anonymous.NewAuthenticator(conditions),
	)
}

// newAuthorizer allows the privileged groups everything, everybody who is
// authenticated to look around, and denies the rest.
func newAuthorizer() (authorizer.Authorizer, error) {
	open, err := path.NewAuthorizer(slices.Concat(discoveryPaths, probePaths))
	if err != nil {
		return nil, fmt.Errorf("building the authorizer: %w", err)
	}
	return authzunion.New(
		authzunion.NamedAuthorizer{
			AuthorizerName: "admins",
			Authorizer:     authorizerfactory.NewPrivilegedGroups(GroupAdmins, user.SystemPrivilegedGroup),
		},
		authzunion.NamedAuthorizer{AuthorizerName: "paths", Authorizer: open},
	)
}
