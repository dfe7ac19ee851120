// Package rtctl is the command rtctl: verbs for operators, each of them requests
// to the manager's API. It needs nothing but a kubeconfig, and keeps nothing but
// kubectl's cache of what a server serves.
//
// A verb is a file and a function that returns its cobra command; the connection
// is for all of them. What kubectl can do, its library does.
package rtctl

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// The groups that the help shows verbs in.
const (
	groupGames   = "games"
	groupRecords = "records"
	groupOther   = "other"
)

// gameVerbs are what kubectl cannot do. The help keeps their order, and one whose
// Use names a GAME has the names completed.
var gameVerbs = []func(genericiooptions.IOStreams, *connection) *cobra.Command{
	statusCommand,
	historyCommand,
	logsCommand,
	topCommand,
	execCommand,
	driftCommand,
	planCommand,
	startCommand,
	stopCommand,
	restartCommand,
}

const (
	summary = "Tells what the runtime manager knows of its games, and changes their records."
	places  = "$" + dataDirVariable + ", or else ~/.runtime-manager or .run"
)

// Command returns rtctl, of a build's version. An error of its execution is what
// people are told; ExitCode has its number.
func Command(streams genericiooptions.IOStreams, version string) *cobra.Command {
	return build(streams, newConnection(managerKubeconfigs), &cobra.Command{
		Use:     "rtctl",
		Short:   summary,
		Version: version,
		Long: summary + `

The manager's kubeconfig is the one that --kubeconfig or $KUBECONFIG names, or
else what a manager on this machine wrote into its data directory:
` + places + `. ~/.kube/config is never read.`,
	})
}

// PluginCommand returns the same as a plugin of kubectl's, kubectl galaxy.
func PluginCommand(streams genericiooptions.IOStreams, version string) *cobra.Command {
	return build(streams, newConnection(kubectlKubeconfigs), &cobra.Command{
		Use:         "kubectl-galaxy",
		Short:       summary,
		Version:     version,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl galaxy"},
		// kubectl's own completion asks for ours.
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Long: summary + `

The kubeconfig is kubectl's: the one that --kubeconfig or $KUBECONFIG names, or
else ~/.kube/config. Only where there is none it is what a manager on this
machine wrote into its data directory:
` + places + `.

Flags stand behind the plugin's name: kubectl galaxy -n league history chess`,
	})
}

func build(streams genericiooptions.IOStreams, connection *connection, root *cobra.Command) *cobra.Command {
	cobra.EnableCommandSorting = false
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())
	})
	connection.program = root.DisplayName()
	number, _, _ := strings.Cut(root.Version, " ")
	connection.agent = fmt.Sprintf("rtctl/%s (%s/%s)", number, runtime.GOOS, runtime.GOARCH)
	connection.addFlags(root.PersistentFlags())
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { prepare(cmd, streams) }
	root.AddGroup(
		&cobra.Group{ID: groupGames, Title: "Games:"},
		&cobra.Group{ID: groupRecords, Title: "Records, as kubectl does:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	for _, verb := range gameVerbs {
		cmd := verb(streams, connection)
		cmd.GroupID = groupGames
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return run(cmd, gameArguments(cmd, args)) }
		if cmd.ValidArgsFunction == nil && strings.Contains(cmd.Use, "GAME") {
			cmd.ValidArgsFunction = gameNames(connection)
		}
		completeWords(cmd)
		root.AddCommand(cmd)
	}
	addRecordVerbs(root, streams, connection)
	root.InitDefaultCompletionCmd()
	root.AddCommand(versionCommand(streams, connection)) // cobra adds help, last
	completeFlags(root, connection)
	return root
}

// gameArguments are a verb's, of which those that name a game may do so as kubectl
// prints it and takes it, with the resource before it.
func gameArguments(cmd *cobra.Command, args []string) []string {
	games := len(args)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		games = dash // the rest is a program
	}
	args = slices.Clone(args)
	for i := range games {
		if resource, name, ok := strings.Cut(args[i], "/"); ok && slices.Contains(gameResources, resource) {
			args[i] = name
		}
	}
	return args
}

var gameResources = []string{"gr", "gameruntime", "gameruntimes", "gameruntime.runtime.galaxy.io", "gameruntimes.runtime.galaxy.io"}

// prepare is before every verb. Ours end in order at the first signal, since they
// heed their context; kubectl's know no context, and end as any program does.
func prepare(cmd *cobra.Command, streams genericiooptions.IOStreams) {
	rest.SetDefaultWarningHandler(rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true}))
	if !klog.V(1).Enabled() {
		klog.SetLogger(logr.Discard()) // what the libraries log of an error, we tell
	}
	if cmd.GroupID == groupGames {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second signal ends the process
		cmd.SetContext(ctx)
	}
}

// verbosityFlag is klog's, of what the libraries log.
func verbosityFlag() *flag.Flag {
	all := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(all)
	verbosity := all.Lookup("v")
	verbosity.Usage = "log the requests: 6 tells which, 8 what is in them"
	return verbosity
}
