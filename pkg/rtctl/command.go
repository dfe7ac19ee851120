// Package rtctl is the command rtctl: verbs for operators, each of them requests
// to the manager's API. It needs nothing but a kubeconfig, and keeps nothing.
//
// A verb is a file and a function that returns its cobra command; the connection
// is for all of them.
package rtctl

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Command returns rtctl, of a build's version. An error of its execution is one
// line for people.
func Command(streams genericiooptions.IOStreams, version string) *cobra.Command {
	root := &cobra.Command{
		Use:           "rtctl",
		Short:         "Tells what the runtime manager knows of its games",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	connection := newConnection()
	flags := root.PersistentFlags()
	connection.flags.AddFlags(flags)
	flags.Lookup("kubeconfig").Usage = "the manager's kubeconfig; $KUBECONFIG or what a manager on this machine wrote, if empty"
	root.AddCommand(historyCommand(streams, connection))
	return root
}
