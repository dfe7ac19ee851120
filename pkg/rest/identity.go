package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/localhost"
)

// Identity is who a request was proven to come from.
type Identity struct {
	Name string
	// May says whether they may do with a game, or with all where that is empty,
	// what the API server calls get, list, create, patch and delete.
	May func(ctx context.Context, verb, game string) bool
}

type identityKey struct{}

// believed lets everybody on this machine through, but no page of the Web.
func believed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if localhost.FromPage(r) {
			failed(&command.Error{Code: v1alpha1.CodeForbidden, Message: "this is for programs on this machine, by an address or as localhost, and for no page of the Web"}).send(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// identified lets nobody through who has not proven who they are. What they say of
// themselves must be that, or nothing: a service does not pass for another one.
func (s *Server) identified(next http.Handler) http.Handler {
	if s.identify == nil {
		return believed(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, proven := s.identify(r)
		if !proven {
			refusal := failed(&command.Error{Code: v1alpha1.CodeUnauthenticated, Message: "a client certificate or a bearer token is needed, and one that is valid"})
			refusal.header.Set("WWW-Authenticate", "Bearer")
			refusal.send(w)
			return
		}
		caller := label(identity.Name)
		if said := r.Header.Get(headerCaller); said != "" && said != caller {
			failed(&command.Error{Code: v1alpha1.CodeForbidden, Field: headerCaller, Message: "is another one's name: leave it out, or say " + caller}).send(w)
			return
		}
		r.Header.Set(headerCaller, caller)
		known := r.WithContext(context.WithValue(r.Context(), identityKey{}, identity))
		next.ServeHTTP(w, known)
		r.Pattern = known.Pattern // for who counts requests by it
	})
}

// label is a name as a record can have it: itself where it is a DNS label, and else
// what is left of it with a part that tells it from others.
func label(name string) string {
	const longest, digits = 52, 10
	if len(validation.IsDNS1123Label(name)) == 0 {
		return name
	}
	left := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	left = strings.Trim(left[:min(len(left), longest)], "-")
	sum := sha256.Sum256([]byte(name))
	return strings.TrimPrefix(left+"-", "-") + hex.EncodeToString(sum[:])[:digits]
}

// permitted has a request refused whose sender may not do all of this.
func permitted(handle handler, verbs ...string) handler {
	return func(w http.ResponseWriter, r *http.Request) reply {
		if identity, ok := r.Context().Value(identityKey{}).(Identity); ok {
			for _, verb := range verbs {
				if !identity.May(r.Context(), verb, r.PathValue("game")) {
					return failed(&command.Error{Code: v1alpha1.CodeForbidden, Message: label(identity.Name) + " may not " + verb + " games here"})
				}
			}
		}
		return handle(w, r)
	}
}
