// Package config embeds the manifests that the manager serves itself. The very
// same files install on a Kubernetes cluster.
package config

import "embed"

// CRDs holds the custom resource definitions, generated from api/v1alpha1.
//
//go:embed crd/bases/*.yaml
var CRDs embed.FS
