package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"

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
	names    apiextensionsv1.CustomResourceDefinitionNames
	// versions are those that clients are served.
	versions []schema.GroupVersion
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
		c := crd{name: d.Name, manifest: manifest, names: d.Spec.Names}
		for _, v := range d.Spec.Versions {
			if v.Served {
				c.versions = append(c.versions, schema.GroupVersion{Group: d.Spec.Group, Version: v.Name})
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

// served tells, by an error, why clients do not yet meet the definition as it
// is written here: they must find it under its names, and its storage must
// answer, which is made on the first request.
func (c crd) served(ctx context.Context, client discovery.DiscoveryInterface) error {
	for _, version := range c.versions {
		list, err := client.ServerResourcesForGroupVersion(version.String())
		if err != nil {
			return fmt.Errorf("looking for %s: %w", c.name, err)
		}
		if !slices.ContainsFunc(list.APIResources, c.is) {
			return fmt.Errorf("%s is not established yet", c.name)
		}
		location := fmt.Sprintf("/apis/%s/%s", version, c.names.Plural)
		if err := client.RESTClient().Get().AbsPath(location).Param("limit", "1").MaxRetries(0).Do(ctx).Error(); err != nil {
			return fmt.Errorf("listing %s: %w", c.name, err)
		}
	}
	return nil
}

// is compares the names that discovery tells; the definition may be older.
func (c crd) is(resource metav1.APIResource) bool {
	return resource.Name == c.names.Plural &&
		resource.Kind == c.names.Kind &&
		slices.Equal(resource.ShortNames, c.names.ShortNames) &&
		slices.Equal(resource.Categories, c.names.Categories)
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
