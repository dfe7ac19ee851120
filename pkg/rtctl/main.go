package rtctl

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// interrupted is the exit code that shells give what SIGINT ended.
const interrupted = 130

// failure is an error of a verb that ends the process with a code of its own, and
// silently where there is nothing to say.
type failure struct {
	message string
	code    int
}

func (f *failure) Error() string { return f.message }

// Main is the process: arguments begin with the name that it was called by, and
// the answer is its exit code. The name kubectl-galaxy makes it kubectl's plugin,
// and kubectl_complete-galaxy what kubectl asks to complete the plugin's words.
func Main(ctx context.Context, streams genericiooptions.IOStreams, version string, arguments []string) int {
	root, rest := Command(streams, version), arguments[1:]
	switch filepath.Base(arguments[0]) {
	case "kubectl-galaxy":
		root = PluginCommand(streams, version)
	case "kubectl_complete-galaxy":
		root, rest = PluginCommand(streams, version), append([]string{"__complete"}, rest...)
	}
	root.SetArgs(rest)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return interrupted // who pressed Ctrl-C knows why
	}
	if err.Error() != "" {
		fmt.Fprintf(streams.ErrOut, "%s: %v\n", root.DisplayName(), err)
	}
	var failed *failure
	if errors.As(err, &failed) {
		return failed.code
	}
	return 1
}
