package apiserver

// minTLSVersion is spoken by everything that is alive.
const minTLSVersion = "VersionTLS12"

// cipherSuites are those of TLS 1.2 that encrypt and authenticate in one and keep
// no secret that opens the past, for a key such as ours. TLS 1.3 has no others.
var cipherSuites = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}
