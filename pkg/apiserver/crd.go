package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/yaml"
)

// fieldManager owns what this server itself writes into its API.
const fieldManager = "runtime-manager"

// crd is a custom resource definition as it is checked in.
type crd struct {
	name     string
	manifest []byte
	// served are the resources that clients find once it is established.
	served []schema.GroupVersionResource
}

// readCRDs reads all YAML files below the root of fsys, one definition a file.
func readCRDs(fsys fs.FS) ([]crd, error) {
	var crds []crd
	err := fs.WalkDir(fsys, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) != ".yaml" {
			return err
		}
		manifest, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		var d apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(manifest, &d); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		c := crd{name: d.Name, manifest: manifest}
		for _, v := range d.Spec.Versions {
			if v.Served {
				c.served = append(c.served, schema.GroupVersionResource{
					Group: d.Spec.Group, Version: v.Name, Resource: d.Spec.Names.Plural,
				})
			}
		}
		crds = append(crds, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the custom resource definitions: %w", err)
	}
	return crds, nil
}

// apply creates the definition, or gives it the schema of this binary. It
// writes nothing when the stored one says the same.
func (c crd) apply(ctx context.Context, client apiextensionsclient.Interface) error {
	force := true
	_, err := client.ApiextensionsV1().CustomResourceDefinitions().Patch(ctx, c.name, types.ApplyPatchType, c.manifest,
		metav1.PatchOptions{FieldManager: fieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return fmt.Errorf("applying the definition of %s: %w", c.name, err)
	}
	return nil
}

// found reports whether clients find all served resources: then the definition
// is established, and its handlers answer.
func (c crd) found(client discovery.DiscoveryInterface) error {
	for _, resource := range c.served {
		list, err := client.ServerResourcesForGroupVersion(resource.GroupVersion().String())
		if err != nil {
			return fmt.Errorf("looking for %s: %w", c.name, err)
		}
		if !lists(list, resource.Resource) {
			return fmt.Errorf("%s is not established yet", c.name)
		}
	}
	return nil
}

func lists(list *metav1.APIResourceList, resource string) bool {
	for _, r := range list.APIResources {
		if r.Name == resource {
			return true
		}
	}
	return false
}

// refused reports whether the server judged the request itself, so that
// sending it again changes nothing.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnauthorized, http.StatusUnprocessableEntity:
		return true
	}
	return false
}
