package apiserver

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	apiserverconfig "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/healthz"
)

// tokenSource knows people by their bearer tokens, by what a file says, and says
// anew, until run's context ends.
type tokenSource interface {
	authenticator.Token
	run(ctx context.Context, log logr.Logger)
	// dependency is what /readyz tells of it: others are known without it.
	dependency() healthz.HealthChecker
}

func openTokenSources(o Options) ([]tokenSource, error) {
	var sources []tokenSource
	if o.TokenFile != "" {
		tokens, err := openTokenFile(o.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token file: %w", err)
		}
		sources = append(sources, tokens)
	}
	if o.AuthenticationConfig != "" {
		issuers, err := openIssuers(o.AuthenticationConfig)
		if err != nil {
			return nil, fmt.Errorf("reading the authentication configuration: %w", err)
		}
		sources = append(sources, issuers)
	}
	return sources, nil
}

// newAuthenticator knows people by the certificates that our own authority signed,
// and by their tokens. The server adds a token of its own, for the loopback client.
func newAuthenticator(clientCA dynamiccertificates.CAContentProvider, sources []tokenSource) authenticator.Request {
	known := []authenticator.Request{x509.NewDynamic(clientCA.VerifyOptions, x509.CommonNameUserConversion)}
	for _, source := range sources {
		known = append(known, bearertoken.New(source))
	}
	conditions := make([]apiserverconfig.AnonymousAuthCondition, 0, len(probePaths))
	for _, p := range probePaths {
		conditions = append(conditions, apiserverconfig.AnonymousAuthCondition{Path: p})
	}
	return union.New(
		group.NewAuthenticatedGroupAdder(union.New(known...)),
		anonymous.NewAuthenticator(conditions),
	)
}
