package docker

import (
	"cmp"
	"context"
	"regexp"
	"slices"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// EnsureNetwork makes the installation's bridge network if it is missing, and
// connects the container that we run in. One that is there is taken as it is: a person may have given it a subnet of its
// choice.
//
// An engine before API 1.44 makes a second network of the same name for a
// caller that asks at the same moment, and from then on refuses the name as
// ambiguous. So callers of this client wait for each other, and who finds more
// than one keeps the oldest.
func (c *Client) EnsureNetwork(ctx context.Context, name, installation string) error {
	op := "make network " + name
	if err := c.networks.Acquire(ctx, 1); err != nil {
		return classify(op, err)
	}
	defer c.networks.Release(1)
	found, err := c.networksNamed(ctx, name)
	if err == nil && len(found) == 0 {
		_, err = c.sdk.NetworkCreate(ctx, name, network.CreateOptions{
			Driver: "bridge",
			Labels: map[string]string{v1alpha1.LabelInstallation: installation},
		})
		if err == nil || isConflict(err) {
			found, err = c.networksNamed(ctx, name)
		}
	}
	if err != nil {
		return classify(op, err)
	}
	for _, extra := range found[min(1, len(found)):] {
		if extra.Labels[v1alpha1.LabelInstallation] != installation {
			continue
		}
		err := c.sdk.NetworkRemove(ctx, extra.ID)
		if failure := classify(op, err); failure != nil && failure.Kind != engine.NotFound {
			return failure
		}
	}
	if len(found) == 0 {
		return nil // it is gone again: a start will tell
	}
	if failure := classify("join network "+name, c.join(ctx, found[0])); failure != nil {
		return failure
	}
	return nil
}

// networksNamed returns the networks of a name, oldest first.
func (c *Client) networksNamed(ctx context.Context, name string) ([]network.Summary, error) {
	found, err := c.sdk.NetworkList(ctx, network.ListOptions{
		Filters: filters.NewArgs(filters.Arg("name", "^"+regexp.QuoteMeta(name)+"$")),
	})
	slices.SortFunc(found, func(a, b network.Summary) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return found, err
}
