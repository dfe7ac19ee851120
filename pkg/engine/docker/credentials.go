package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/registry"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// credentials returns what the engine is to show to the registry of an image, in
// the engine's encoding; "" if there is nothing to show. The file is read each
// time, so that credentials can be changed under a running manager. No secret,
// and no path of the host, is in an error: the library's may hold both.
func (c *Client) credentials(ctx context.Context, ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", err
	}
	host := reference.Domain(named)
	store, err := openCredentials(c.registryConfig)
	if err != nil {
		return "", err
	}
	address := credentials.ServerAddressFromRegistry(host)
	found, err := store.Get(ctx, address)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("the credential helper for registry %s is not installed", host)
	case err != nil:
		return "", fmt.Errorf("the credentials for registry %s cannot be read: the entry is malformed, or its credential helper failed", host)
	}
	shown := registry.AuthConfig{
		Username: found.Username, Password: found.Password, IdentityToken: found.RefreshToken, RegistryToken: found.AccessToken,
		ServerAddress: address,
	}
	if shown == (registry.AuthConfig{ServerAddress: address}) {
		return "", nil
	}
	return registry.EncodeAuthConfig(shown)
}

// openCredentials reads a file of credentials. The docker command's own may be
// missing, and so may the home directory it would be in.
func openCredentials(path string) (credentials.Store, error) {
	var store credentials.Store
	var err error
	switch {
	case path != "":
		if _, err = os.Stat(path); err == nil { // the library takes a missing file for an empty one
			store, err = credentials.NewStore(path, credentials.StoreOptions{})
		}
	case os.Getenv("DOCKER_CONFIG") == "" && os.Getenv("HOME") == "":
		store = credentials.NewMemoryStore()
	default:
		store, err = credentials.NewStoreFromDocker(credentials.StoreOptions{})
	}
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return nil, fmt.Errorf("the file with the credentials of registries cannot be read: %w", file.Err)
	case err != nil:
		return nil, errors.New("the file with the credentials of registries is not in the form of Docker's config.json")
	}
	return store, nil
}
