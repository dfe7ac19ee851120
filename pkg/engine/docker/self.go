package docker

import (
	"context"
	"os"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// self is the id of the container that this process runs in; empty outside of
// one. It is asked once: a process does not change its container.
func self() string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "" // no Linux
	}
	return mountedFrom(string(mounts))
}

// hostnameFile is where an engine keeps the /etc/hostname of a container.
var hostnameFile = regexp.MustCompile(`/containers/([0-9a-f]{64})/hostname$`)

// mountedFrom reads from a mountinfo whose /etc/hostname is ours.
func mountedFrom(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line) // id, parent, device, root of the mount, where it is mounted, …
		if len(fields) < 5 || fields[4] != "/etc/hostname" {
			continue
		}
		if found := hostnameFile.FindStringSubmatch(fields[3]); found != nil {
			return found[1]
		}
	}
	return ""
}

// JoinNetwork connects the container that we run in.
func (c *Client) JoinNetwork(ctx context.Context, name string) error {
	if c.self == "" {
		return nil
	}
	op := "join network " + name
	if err := c.networks.Acquire(ctx, 1); err != nil {
		return classify(op, err)
	}
	defer c.networks.Release(1)
	found, err := c.networksNamed(ctx, name)
	if err == nil && len(found) > 0 {
		err = c.join(ctx, found[0])
	}
	if failure := classify(op, err); failure != nil {
		return failure
	}
	return nil
}

// join connects the container that we run in, if that is one of this engine's.
// The network never becomes its way to anywhere else, where the engine lets one
// say so: from API 1.48 on.
func (c *Client) join(ctx context.Context, to network.Summary) error {
	own, err := c.own(ctx)
	if err != nil || own == nil || own.NetworkSettings.Networks[to.Name] != nil {
		return err
	}
	return c.sdk.NetworkConnect(ctx, to.ID, own.ID, &network.EndpointSettings{GwPriority: -1})
}

// own is the container that we run in; nil if this engine does not know it, or
// has no network to add to it. No two containers have one id, on whatever engines.
//
// A container that uses the network of another is shown that one's files, and
// has no id to be known by. So what another one uses may not be ours: it is left
// alone. The engine's list may not know yet that the other one runs, which is why
// those count that do not.
func (c *Client) own(ctx context.Context) (*container.InspectResponse, error) {
	if c.self == "" {
		return nil, nil
	}
	found, err := c.sdk.ContainerInspect(ctx, c.self)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mode := found.HostConfig.NetworkMode
	if !found.State.Running || mode.IsHost() || mode.IsNone() || mode.IsContainer() {
		return nil, nil
	}
	all, err := c.sdk.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		used := container.NetworkMode(other.HostConfig.NetworkMode).ConnectedContainer()
		if used != "" && (strings.HasPrefix(found.ID, used) || found.Name == "/"+used) {
			return nil, nil
		}
	}
	return &found, nil
}
