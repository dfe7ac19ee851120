// Command inside stands for a manager in a container that has the engine's
// socket: it joins a network of games, or makes it, and says by its exit code
// whether a game is reached then.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"galaxy.io/runtime-manager/pkg/engine/docker"
)

const usage = "usage: inside join NETWORK GAME | ensure NETWORK INSTALLATION"

func main() {
	if len(os.Args) != 4 {
		check(errors.New(usage))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := docker.New(docker.Options{Host: "unix:///var/run/docker.sock"})
	check(err)
	switch network, last := os.Args[2], os.Args[3]; os.Args[1] {
	case "ensure":
		check(c.EnsureNetwork(ctx, network, last))
	case "join":
		check(c.JoinNetwork(ctx, network))
		conn, err := net.DialTimeout("tcp", last, time.Second)
		check(err)
		check(conn.Close())
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
