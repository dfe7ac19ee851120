package docker

import (
	"context"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/image"

	"galaxy.io/runtime-manager/pkg/engine"
)

// InspectImage returns a local image.
func (c *Client) InspectImage(ctx context.Context, ref string) (engine.Image, error) {
	found, err := c.sdk.ImageInspect(ctx, ref)
	if err != nil {
		return engine.Image{}, classify("inspect image "+ref, err)
	}
	local := engine.Image{ID: found.ID, Tags: named(found.RepoTags), RepoDigests: named(found.RepoDigests)}
	if config := found.Config; config != nil {
		slices.Sort(config.Env)
		local.User, local.Entrypoint, local.Args = config.User, config.Entrypoint, config.Cmd
		local.Env, local.WorkingDir = config.Env, config.WorkingDir
	}
	return local, nil
}

// Images is one call. An image that lost its last tag is among them.
func (c *Client) Images(ctx context.Context) ([]engine.Image, error) {
	summaries, err := c.sdk.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return nil, classify("list images", err)
	}
	images := make([]engine.Image, 0, len(summaries))
	for _, s := range summaries {
		images = append(images, engine.Image{ID: s.ID, Tags: named(s.RepoTags), RepoDigests: named(s.RepoDigests)})
	}
	return images, nil
}

// named drops the placeholder that engines before API 1.43 list for no name.
func named(names []string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "<none>") })
	if len(names) == 0 {
		return nil
	}
	return names
}
