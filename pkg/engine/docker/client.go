// Package docker speaks the engine's words to Docker. It is the only package
// that knows Docker's API. It works with engines from API 1.41 (20.10) on; how far
// Podman's socket passes for one is told by podman_test.go.
//
// It has no goroutine of its own, keeps nothing about containers, and never
// tries again: a failure gets its kind here, once, and what to do about it is
// the caller's to say. Every call ends with its context.
package docker

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/docker/docker/client"
	"golang.org/x/sync/semaphore"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Options say which engine.
type Options struct {
	// Host is its address, such as unix:///var/run/docker.sock; empty is
	// DOCKER_HOST, or the local socket.
	Host string
	// RegistryConfig is a file in the form of Docker's config.json with the
	// credentials of registries. Empty is the docker command's own, if there is
	// one. It is read anew for each pull.
	RegistryConfig string
}

// Client is a Docker engine. The API version is agreed on with the first call,
// so an engine that is away is no error here.
type Client struct {
	sdk *client.Client
	// booted is when the engine's host started; zero if that is not ours.
	booted time.Time
	// self is the container that we run in; empty outside of one. It need not be
	// one of this engine's.
	self string
	// registryConfig is Options.RegistryConfig.
	registryConfig string
	// networks is held by the one call that makes a network, or joins it.
	networks *semaphore.Weighted
}

var _ engine.Engine = (*Client)(nil)

// New checks the address.
func New(options Options) (*Client, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if options.Host != "" {
		opts = append(opts, client.WithHost(options.Host))
	}
	sdk, err := client.NewClientWithOpts(append(opts, dialLocally)...)
	if err != nil {
		return nil, fmt.Errorf("preparing the Docker client: %w", err)
	}
	return &Client{
		sdk: sdk, booted: bootedAt(sdk.DaemonHost()), self: self(), registryConfig: options.RegistryConfig,
		networks: semaphore.NewWeighted(1),
	}, nil
}

// dialLocally has each call to a local engine open its own connection, which
// costs next to nothing. An engine that shuts down accepts no more of them, while
// on those that stand it goes on answering: how it ends its containers would then
// be taken for somebody's doing before it is known to be away.
func dialLocally(sdk *client.Client) error {
	transport, ok := sdk.HTTPClient().Transport.(*http.Transport)
	if ok && strings.HasPrefix(sdk.DaemonHost(), localScheme) {
		transport.DisableKeepAlives = true
	}
	return nil
}

// Close lets the connections go.
func (c *Client) Close() error { return c.sdk.Close() }

// Info tells who the engine is.
func (c *Client) Info(ctx context.Context) (engine.Info, error) {
	info, err := c.sdk.Info(ctx)
	if err != nil {
		return engine.Info{}, classify("ask the engine who it is", err)
	}
	return engine.Info{ID: info.ID, Name: info.Name, Version: info.ServerVersion, BootedAt: c.booted}, nil
}
