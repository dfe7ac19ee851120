package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/localhost"
	"galaxy.io/runtime-manager/pkg/rest"
)

func (c *Config) tlsFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&c.TLSNames, "tls-san", c.TLSNames, "name or address that clients elsewhere reach the manager by, for its certificate; may be repeated")
}

func (c Config) checkTLS() error {
	for _, name := range c.TLSNames {
		wrong := validation.IsDNS1123Subdomain(strings.TrimPrefix(name, "*."))
		if net.ParseIP(name) == nil && len(wrong) > 0 {
			return fmt.Errorf("--tls-san: must be a name or an address without a port, is %q: %s", name, wrong[0])
		}
	}
	return nil
}

// inside says that only this machine reaches a listener. What is served there is
// served in the clear, and to everybody.
func inside(listener net.Listener) bool {
	address, ok := listener.Addr().(*net.TCPAddr)
	return ok && address.IP.IsLoopback()
}

// onlyInside refuses to listen where nobody could be known.
func onlyInside(flag string, listener net.Listener) error {
	if listener == nil || inside(listener) {
		return nil
	}
	return fmt.Errorf("%s: with --kubeconfig it must be on the loopback, as 127.0.0.1:7080, is %s: nobody who comes from elsewhere could be known", flag, listener.Addr())
}

// prepareTLS makes the certificates before anything is served with them, and meets
// a clock that is far off before anything is written by it.
func (a *App) prepareTLS() error {
	if a.listener == nil { // the API is a cluster's, and its authorities are not ours
		return cmp.Or(onlyInside("--rest-address", a.services), onlyInside("--metrics-address", a.telemetry))
	}
	return apiserver.PrepareTLS(a.config.DataDir, a.listener.Addr(), a.config.TLSNames)
}

// serveOn serves in the clear on the machine's loopback. Elsewhere it serves over TLS
// what the API would let the client get by this path.
func (a *App) serveOn(server *http.Server, listener net.Listener) error {
	if inside(listener) {
		server.Handler = notForPages(server.Handler)
		return server.Serve(listener)
	}
	config, err := apiserver.TLS(a.config.DataDir)
	if err != nil {
		return err
	}
	server.TLSConfig, server.Handler = config, a.guarded(server.Handler)
	return server.ServeTLS(listener, "", "")
}

// notForPages keeps what programs on this machine may see from pages of the Web.
func notForPages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if localhost.FromPage(r) {
			http.Error(w, "this is for programs on this machine, by an address or as localhost, and for no page of the Web", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *App) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch server := a.api.Load(); {
		case server == nil && apiserver.Public(r.URL.Path):
			next.ServeHTTP(w, r)
		case server == nil:
			http.Error(w, "nobody can be known yet: the manager starts", http.StatusServiceUnavailable)
		default:
			who, proven := server.Authenticate(r)
			if !proven {
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "a client certificate or a bearer token is needed, and one that is valid", http.StatusUnauthorized)
				return
			}
			if !server.May(r.Context(), authorizer.AttributesRecord{User: who, Verb: "get", Path: r.URL.Path}) {
				http.Error(w, who.GetName()+" may not get "+r.URL.Path, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		}
	})
}

// openServices is how services are listened to, and known: nil where they are on this
// machine, and nobody asks.
func (a *App) openServices(server *apiserver.Server) (net.Listener, func(*http.Request) (rest.Identity, bool), error) {
	if inside(a.services) {
		return a.services, nil, nil
	}
	config, err := apiserver.TLS(a.config.DataDir)
	if err != nil {
		return nil, nil, err
	}
	identify := func(r *http.Request) (rest.Identity, bool) {
		who, proven := server.Authenticate(r)
		if !proven {
			return rest.Identity{}, false
		}
		return rest.Identity{Name: who.GetName(), May: func(ctx context.Context, verb, game string) bool {
			return server.May(ctx, authorizer.AttributesRecord{
				User: who, Verb: verb, Namespace: a.config.GamesNamespace, Name: game, ResourceRequest: true,
				APIGroup: v1alpha1.GroupVersion.Group, APIVersion: v1alpha1.GroupVersion.Version, Resource: "gameruntimes",
			})
		}}, true
	}
	return tls.NewListener(a.services, config), identify, nil
}
