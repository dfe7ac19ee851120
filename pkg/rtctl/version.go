package rtctl

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/discovery"
)

// versionCommand is in kubectl's place, which would tell the version of its library.
func versionCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	client := false
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program and of the manager",
		Args:    cobra.NoArgs,
		GroupID: groupOther,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(streams.Out, "Client:", cmd.Root().Version)
			if client {
				return nil
			}
			config, err := connection.ToRESTConfig()
			if err != nil {
				return err
			}
			discovered, err := discovery.NewDiscoveryClientForConfig(config)
			if err != nil {
				return connection.explain(err)
			}
			server, err := discovered.ServerVersion()
			if err != nil {
				return connection.explain(err)
			}
			fmt.Fprintln(streams.Out, "Server:", server.GitVersion)
			return nil
		},
	}
	cmd.Flags().BoolVar(&client, "client", client, "only the version of this program, without asking the manager")
	return cmd
}
