package docker

import (
	"context"
	"slices"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// EnsureNetwork makes the installation's bridge network if it is missing.
// Docker lets two networks have one name, and then starts no container on
// either: who made one too many takes it away again.
func (c *Client) EnsureNetwork(ctx context.Context, name, installation string) error {
	op := "make network " + name
	found, err := c.networks(ctx, name)
	if err != nil {
		return classify(op, err)
	}
	if len(found) > 0 {
		return nil
	}
	made, err := c.sdk.NetworkCreate(ctx, name, network.CreateOptions{
		Driver: "bridge",
		Labels: map[string]string{v1alpha1.LabelInstallation: installation},
	})
	if isConflict(err) {
		return nil
	}
	if err != nil {
		return classify(op, err)
	}
	if found, err = c.networks(ctx, name); err != nil {
		return classify(op, err)
	}
	if found[0] == made.ID {
		return nil
	}
	return unlessGone(classify(op, c.sdk.NetworkRemove(ctx, made.ID)))
}

// networks are the ids of those with exactly this name, in an order that all
// who ask agree on.
func (c *Client) networks(ctx context.Context, name string) ([]string, error) {
	found, err := c.sdk.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, n := range found {
		if n.Name == name { // the engine's filter matches parts of names
			ids = append(ids, n.ID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
