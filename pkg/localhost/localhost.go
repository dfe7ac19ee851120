// Package localhost is for servers that believe everybody on this machine: it tells
// programs from pages of the Web, which a browser here asks us on behalf of.
package localhost

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// FromPage says that a page made a request, or may have. It is known by its origin,
// which the browser tells, or by the name that it knows us by: whoever has a domain
// may have a name in it lead here, and to the browser we are then the page's own.
func FromPage(r *http.Request) bool {
	if !ours(r.Host) {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	page, err := url.Parse(origin)
	return err != nil || page.Host != r.Host
}

// ours says that nobody but this machine goes by a name, which may have a port.
func ours(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
