// Command runtime-manager keeps the containers of declared games as their
// records say, and serves those records as a Kubernetes API.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // where there is no system to trust authorities, as in our image
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/term"

	"galaxy.io/runtime-manager/pkg/app"
	"galaxy.io/runtime-manager/pkg/version"
)

func main() {
	// The first signal asks for an orderly end, the second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "runtime-manager:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "runtime-manager",
		Short:         "Runs game engine containers as declared, behind a Kubernetes API",
		Version:       version.Line(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(serveCommand(), provisionCommand(), migrateCommand(), kubeconfigCommand(), versionCommand())
	return root
}

func serveCommand() *cobra.Command {
	config := app.DefaultConfig()
	config.Version = version.Number()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the manager until it is told to stop; games keep running",
		Long: "Run the manager until it is told to stop; games keep running.\n\n" +
			"Each flag has an environment variable: " + app.EnvironmentPrefix + "DATA_DIR is --data-dir.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := app.FromEnvironment(cmd.Flags(), os.LookupEnv); err != nil {
				return err
			}
			log, err := app.NewLogger(config)
			if err != nil {
				return err
			}
			app.LogLibraries(log)
			if unread := app.UnreadVariables(cmd.Flags(), os.Environ()); len(unread) > 0 {
				log.Info("variables of the environment that no flag reads", "names", unread)
			}
			manager, err := app.New(config, log)
			if err != nil {
				return err
			}
			return manager.Run(cmd.Context())
		},
	}
	addFlags(cmd, config.Flags())
	return cmd
}

// addFlags adds flags to a command, whose help shows them by group.
func addFlags(cmd *cobra.Command, groups cliflag.NamedFlagSets) {
	for _, set := range groups.FlagSets {
		cmd.Flags().AddFlagSet(set)
	}
	width, _, _ := term.TerminalSize(cmd.OutOrStdout())
	cliflag.SetUsageAndHelpFunc(cmd, groups, width)
}

func provisionCommand() *cobra.Command {
	config := app.DefaultProvisionConfig()
	cmd := &cobra.Command{
		Use:   "provision",
		Short: "Make the role and the schema that the manager needs on a PostgreSQL server",
		Long: "Make the role, the database and the schema that the manager needs on a PostgreSQL server,\n" +
			"or mend them; run it again at any time. The tables are migrate's, which runs as that role.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := app.FromEnvironment(cmd.Flags(), os.LookupEnv); err != nil {
				return err
			}
			return app.Provision(cmd.Context(), config)
		},
	}
	cmd.Flags().AddFlagSet(config.Flags())
	return cmd
}

func migrateCommand() *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables of a PostgreSQL database up to date",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := app.FromEnvironment(cmd.Flags(), os.LookupEnv); err != nil {
				return err
			}
			return app.Migrate(cmd.Context(), url)
		},
	}
	cmd.Flags().StringVar(&url, "database-url", "", "postgres:// URL of the database")
	return cmd
}

func kubeconfigCommand() *cobra.Command {
	config := app.DefaultKubeconfigConfig()
	cmd := &cobra.Command{
		Use:   "kubeconfig --user USER --group GROUP",
		Short: "Issue a kubeconfig for a user of the embedded API",
		Long: "Issue a kubeconfig with a client certificate for a user of the embedded API, signed by the authority\n" +
			"in the data directory. A manager may run on that directory. The certificate is good until it ends.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := app.FromEnvironment(cmd.Flags(), os.LookupEnv); err != nil {
				return err
			}
			return app.IssueKubeconfig(config, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().AddFlagSet(config.Flags())
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, as --version does",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), cmd.Root().Name(), "version", version.Line())
		},
	}
}
