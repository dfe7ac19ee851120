// Package apiserver serves the Kubernetes API from within this process: the
// custom resources of api/v1alpha1 and the few built-in kinds that kubectl,
// client-go and controller-runtime cannot do without.
//
// Authority: the store is the only place where objects are. This package keeps
// nothing but the files in the data directory (pki/ and kubeconfig), and it
// decides nothing about games.
//
//	client ── TLS ── certificate → user, groups ── authorizer ── admission (namespace lifecycle)
//	       ── strict decoding ── defaults, schema, CEL (apiextensions) or strategy (built-in kinds)
//	       ── generic registry ── watch cache ── store
//
// What can be asked of a game and is no field of its record, its history, is a
// subresource of ours: it stands behind the authorizer, in front of the custom
// resources, and somebody else reads it ([HistoryReader]).
//
// # Goroutines
//
// [Server.Run] owns three: the HTTP server with upstream's controllers, the
// start of the API followed by the namespace cleaner, and the renewal of
// certificates. They end with its context, in the server's own order: watches
// are told, requests in flight finish, the watch caches stop. Whoever writes
// through [Server.ClientConfig] must have stopped before.
//
// # Failure
//
// A database that is away makes requests fail and /readyz name it; nothing is
// given up, and the start waits for it. A custom resource definition that the
// server itself refuses can never become ready: Run returns it as an error.
// Namespace deletion is level-triggered and repeatable: what is left over by a
// crash is found again when the namespaces are listed.
package apiserver
