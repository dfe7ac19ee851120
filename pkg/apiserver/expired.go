package apiserver

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// warnOfEnd tells who comes with a certificate that has ended, or not begun, why
// that lets nobody in: the refusal itself says no more than "Unauthorized", and
// kubectl shows a warning whatever the answer is.
func warnOfEnd(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.TLS != nil && len(req.TLS.PeerCertificates) > 0 {
			if why := useless(req.TLS.PeerCertificates[0], time.Now()); why != "" {
				const miscellaneous = 299
				if header, err := utilnet.NewWarningHeader(miscellaneous, "-", why); err == nil {
					w.Header().Add("Warning", header)
				}
			}
		}
		next.ServeHTTP(w, req)
	})
}

func useless(cert *x509.Certificate, now time.Time) (why string) {
	const layout = time.DateTime + " MST"
	switch {
	case now.After(cert.NotAfter):
		return fmt.Sprintf("the client certificate ended at %s: ask for a new kubeconfig", cert.NotAfter.UTC().Format(layout))
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("the client certificate begins at %s, and the server's clock says %s", cert.NotBefore.UTC().Format(layout), now.UTC().Format(layout))
	}
	return ""
}
