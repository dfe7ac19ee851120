package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/docker/docker/api/types/image"

	"galaxy.io/runtime-manager/pkg/engine"
)

// InspectImage returns a local image.
func (c *Client) InspectImage(ctx context.Context, ref string) (engine.Image, error) {
	found, err := c.sdk.ImageInspect(ctx, ref)
	if err != nil {
		return engine.Image{}, classify("inspect image "+ref, err)
	}
	local := engine.Image{ID: found.ID}
	if config := found.Config; config != nil {
		slices.Sort(config.Env)
		local.User, local.Entrypoint, local.Args = config.User, config.Entrypoint, config.Cmd
		local.Env, local.WorkingDir = config.Env, config.WorkingDir
	}
	return local, nil
}

// PullImage reads the progress stream to its end: that is where the engine
// reports most of what goes wrong.
func (c *Client) PullImage(ctx context.Context, ref string) error {
	op := "pull image " + ref
	stream, err := c.sdk.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return pullFailure(op, err)
	}
	defer stream.Close()
	for decoder := json.NewDecoder(stream); ; {
		var progress struct {
			Error string `json:"error"`
		}
		switch err := decoder.Decode(&progress); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return pullFailure(op, err)
		case progress.Error != "":
			return pullFailure(op, errors.New(progress.Error))
		}
	}
}

// pullFailure tells the engine that is away from the registry that refuses.
func pullFailure(op string, err error) error {
	failure := classify(op, err)
	switch failure.Kind {
	case engine.Unreachable, engine.Timeout:
	default:
		failure.Kind = engine.PullFailed
	}
	return failure
}
