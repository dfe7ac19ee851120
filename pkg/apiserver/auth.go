package apiserver

import (
	apiserverconfig "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// newAuthenticator knows people by the certificates that our own authority signed,
// and by those tokens. The server adds a token of its own, for the loopback client.
func newAuthenticator(clientCA dynamiccertificates.CAContentProvider, tokens []authenticator.Token) authenticator.Request {
	known := []authenticator.Request{x509.NewDynamic(clientCA.VerifyOptions, x509.CommonNameUserConversion)}
	if len(tokens) > 0 {
		known = append(known, bearertoken.New(tokenunion.New(tokens...)))
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
