// Package config embeds the manifests that the manager serves itself, of which the
// very same files install on a Kubernetes cluster, and the policy of its audit log.
package config

import "embed"

// CRDs holds the custom resource definitions, generated from api/v1alpha1.
//
//go:embed crd/bases/*.yaml
var CRDs embed.FS

// AuditPolicy says what of the requests to the API is written to an audit log, if
// there is one.
//
//go:embed audit/policy.yaml
var AuditPolicy []byte
