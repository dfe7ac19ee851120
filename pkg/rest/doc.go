// Package rest is the internal API for services that do not speak Kubernetes.
//
// Each call that changes something is one wish to pkg/command, and that one write
// to a record. A caller may wait for what comes of it: the answer is the record's
// own status then, seen over one watch that all who wait share. openapi.yaml is the
// contract; the tests hold every request and answer against it.
package rest
