package docker

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// List takes no container's lock. Of a container's health an engine's list says
// nothing but in words for people; which ones are unhealthy is another list.
func (c *Client) List(ctx context.Context, installation string) ([]engine.Container, error) {
	summaries, err := c.sdk.ContainerList(ctx, container.ListOptions{All: true, Filters: ours(installation)})
	if err != nil {
		return nil, classify("list containers", err)
	}
	unhealthy := ours(installation)
	unhealthy.Add("health", container.Unhealthy)
	sick, err := c.sdk.ContainerList(ctx, container.ListOptions{Filters: unhealthy})
	if err != nil {
		return nil, classify("list unhealthy containers", err)
	}
	isSick := make(map[string]bool, len(sick))
	for _, s := range sick {
		isSick[s.ID] = true
	}
	containers := make([]engine.Container, 0, len(summaries))
	for _, s := range summaries {
		listed := fromSummary(s)
		if listed.State == engine.StateRunning && isSick[listed.ID] {
			listed.Health = &engine.Health{State: engine.HealthUnhealthy}
		}
		containers = append(containers, listed)
	}
	return containers, nil
}

func ours(installation string) filters.Args {
	return filters.NewArgs(filters.Arg("label", v1alpha1.LabelInstallation+"="+installation))
}

// Inspect takes the container's lock: one that hangs hangs this call.
func (c *Client) Inspect(ctx context.Context, idOrName string) (engine.Container, error) {
	found, err := c.sdk.ContainerInspect(ctx, idOrName)
	if err != nil {
		return engine.Container{}, classify("inspect container "+short(idOrName), err)
	}
	return fromInspect(found), nil
}

// Create makes a container with the security defaults.
func (c *Client) Create(ctx context.Context, spec engine.ContainerSpec) (string, error) {
	op := "create container " + spec.Name
	config, host, net, err := toConfig(spec)
	if err != nil {
		return "", &engine.Error{Op: op, Kind: engine.Invalid, Err: err}
	}
	created, err := c.sdk.ContainerCreate(ctx, config, host, net, nil, spec.Name)
	if err != nil && strings.Contains(err.Error(), "invalid log driver") {
		// Podman has no local, and takes its own for Docker's older one.
		host.LogConfig.Type = "json-file"
		created, err = c.sdk.ContainerCreate(ctx, config, host, net, nil, spec.Name)
	}
	if isConflict(err) {
		return "", &engine.Error{Op: op, Kind: engine.NameConflict, Err: clean(err)}
	}
	if err != nil {
		failure := classify(op, err)
		if startKind(err.Error()) == engine.MountFailed {
			failure.Kind = engine.MountFailed
		}
		return "", failure
	}
	return created.ID, nil
}

// Start starts a container. What the engine says against it, beside that it is
// gone, is about the container: its port, its mount or its program.
func (c *Client) Start(ctx context.Context, id string) error {
	err := c.sdk.ContainerStart(ctx, id, container.StartOptions{})
	if err == nil {
		return nil
	}
	failure := classify("start container "+short(id), err)
	if kind := engine.KindOf(failure); kind == engine.Failed || kind == engine.Invalid {
		failure.Kind = startKind(err.Error())
	}
	return failure
}

// Stop sends the signal, and SIGKILL after the grace period. An engine before
// API 1.42 sends the signal that the container was created with.
func (c *Client) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	seconds := int(math.Ceil(grace.Seconds()))
	err := c.sdk.ContainerStop(ctx, id, container.StopOptions{Signal: signal, Timeout: &seconds})
	return unlessGone(classify("stop container "+short(id), err))
}

// Remove deletes a container, running or not, and its anonymous volumes.
func (c *Client) Remove(ctx context.Context, id string) error {
	err := c.sdk.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if isConflict(err) && strings.Contains(err.Error(), "already in progress") {
		return nil
	}
	return unlessGone(classify("remove container "+short(id), err))
}

// Rename gives a container another name. To have it already is no failure.
func (c *Client) Rename(ctx context.Context, id, name string) error {
	op := "rename container " + short(id)
	err := c.sdk.ContainerRename(ctx, id, name)
	switch {
	case err == nil:
		return nil
	case !isConflict(err):
		return classify(op, err)
	}
	if holder, look := c.Inspect(ctx, name); look == nil && holder.ID == id {
		return nil
	}
	return &engine.Error{Op: op, Kind: engine.NameConflict, Err: clean(err)}
}

// UpdateResources changes the limits in place.
func (c *Client) UpdateResources(ctx context.Context, id string, resources engine.Resources) error {
	_, err := c.sdk.ContainerUpdate(ctx, id, container.UpdateConfig{
		Resources: toResources(resources), RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
	})
	if err != nil {
		return classify("update resources of container "+short(id), err)
	}
	return nil
}

// unlessGone takes a container that is not there for one that was dealt with.
func unlessGone(failure *engine.Error) error {
	if failure == nil || failure.Kind == engine.NotFound {
		return nil
	}
	return failure
}

func short(id string) string {
	if len(id) == 64 { // a full id; names are not cut
		return id[:12]
	}
	return id
}
