// Command rtctl tells operators what the manager knows of their games.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/pkg/rtctl"
)

// version is set by the linker.
var version = "v0.0.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	if err := rtctl.Command(streams, version).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "rtctl:", err)
		os.Exit(1)
	}
}
