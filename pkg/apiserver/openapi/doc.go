// Package openapi holds the OpenAPI definitions of the built-in kinds: what
// `kubectl explain` prints and server-side apply merges by.
package openapi

//go:generate go run galaxy.io/runtime-manager/hack/openapi . galaxy.io/runtime-manager/pkg/apiserver/openapi
