// Package docker speaks the engine's words to Docker. It is the only package
// that knows Docker's API.
package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/client"

	"galaxy.io/runtime-manager/pkg/engine"
)

// Options say which engine.
type Options struct {
	// Host is its address; empty is DOCKER_HOST, or the local socket.
	Host string
}

// Client is a Docker engine. The API version is agreed on with the first call,
// so an engine that is away is no error here.
type Client struct {
	sdk *client.Client
}

var _ engine.Engine = (*Client)(nil)

// New checks the address.
func New(options Options) (*Client, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if options.Host != "" {
		opts = append(opts, client.WithHost(options.Host))
	}
	sdk, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("preparing the Docker client: %w", err)
	}
	return &Client{sdk: sdk}, nil
}

// Close lets the connections go.
func (c *Client) Close() error { return c.sdk.Close() }

// Info tells who the engine is.
func (c *Client) Info(ctx context.Context) (engine.Info, error) {
	info, err := c.sdk.Info(ctx)
	if err != nil {
		return engine.Info{}, classify("ask the engine who it is", err)
	}
	return engine.Info{ID: info.ID, Name: info.Name, Version: info.ServerVersion}, nil
}

// errStreamEnded is what an orderly end of the event stream is: an engine that
// shuts down says no goodbye.
var errStreamEnded = errors.New("the engine closed the event stream")
