package apiserver

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"
)

func testOldTLS(t *testing.T, a *api) {
	for name, c := range map[string]struct {
		client  *tls.Config
		refused bool
	}{
		"1.1":                    {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, true},
		"1.2, without integrity": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, true},
		"1.2":                    {&tls.Config{MaxVersion: tls.VersionTLS12}, false},
		"1.3":                    {&tls.Config{MinVersion: tls.VersionTLS13}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.client.InsecureSkipVerify = true
			conn, err := (&tls.Dialer{Config: c.client}).DialContext(t.Context(), "tcp", a.generic.SecureServingInfo.Listener.Addr().String())
			if c.refused {
				require.ErrorContains(t, err, "remote error: tls: ", "it is the server that refuses")
				return
			}
			require.NoError(t, err)
			require.NoError(t, conn.Close())
		})
	}
}
