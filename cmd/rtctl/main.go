// Command rtctl tells operators what the manager knows of their games.
package main

import (
	"context"
	"os"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/pkg/rtctl"
	"galaxy.io/runtime-manager/pkg/version"
)

func main() {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(rtctl.Main(context.Background(), streams, version.Line(), os.Args))
}
