package rtctl

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/cmd/annotate"
	"k8s.io/kubectl/pkg/cmd/apiresources"
	"k8s.io/kubectl/pkg/cmd/apply"
	"k8s.io/kubectl/pkg/cmd/auth"
	"k8s.io/kubectl/pkg/cmd/create"
	"k8s.io/kubectl/pkg/cmd/delete"
	"k8s.io/kubectl/pkg/cmd/describe"
	"k8s.io/kubectl/pkg/cmd/diff"
	"k8s.io/kubectl/pkg/cmd/edit"
	"k8s.io/kubectl/pkg/cmd/events"
	"k8s.io/kubectl/pkg/cmd/explain"
	"k8s.io/kubectl/pkg/cmd/get"
	"k8s.io/kubectl/pkg/cmd/label"
	"k8s.io/kubectl/pkg/cmd/patch"
	"k8s.io/kubectl/pkg/cmd/replace"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/cmd/wait"
	"k8s.io/kubectl/pkg/util/completion"
)

// addRecordVerbs adds what kubectl's library does for records, under the names and
// flags that it has there, and as the same field managers.
func addRecordVerbs(root *cobra.Command, streams genericiooptions.IOStreams, connection *connection) {
	cmdutil.BehaviorOnFatal(func(message string, code int) { panic(&failure{message, code}) })
	name := connection.program
	f := cmdutil.NewFactory(cmdutil.NewMatchVersionFlags(connection))
	getCommand, waitCommand := get.NewCmdGet(name, f, streams), wait.NewCmdWait(f, streams)
	// The library completes the words of the other verbs.
	getCommand.ValidArgsFunction = completion.ResourceTypeAndNameCompletionFunc(f)
	waitCommand.ValidArgsFunction = getCommand.ValidArgsFunction
	diffCommand := diff.NewCmdDiff(f, streams)
	diffCommand.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &failure{root.FlagErrorFunc()(cmd, err).Error(), 2} // 1 says that there is a difference
	})
	for _, cmd := range []*cobra.Command{
		getCommand,
		describe.NewCmdDescribe(name, f, streams),
		apply.NewCmdApply(name, f, streams),
		diffCommand,
		only(create.NewCmdCreate(f, streams), "namespace"),
		replace.NewCmdReplace(f, streams), // what an edit that fails speaks of
		patch.NewCmdPatch(f, streams),
		edit.NewCmdEdit(f, streams),
		label.NewCmdLabel(f, streams),
		annotate.NewCmdAnnotate(name, f, streams),
		delete.NewCmdDelete(f, streams),
		waitCommand,
		events.NewCmdEvents(f, streams),
		explain.NewCmdExplain(name, f, streams),
		apiresources.NewCmdAPIResources(f, streams),
		apiresources.NewCmdAPIVersions(f, streams),
		only(auth.NewCmdAuth(f, streams), "can-i", "whoami"),
	} {
		cmd.GroupID = groupRecords
		root.AddCommand(cmd)
		adopt(cmd, connection)
	}
}

// only leaves a command those of its subcommands that there is something here for.
func only(cmd *cobra.Command, names ...string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		keep := false
		for _, name := range names {
			keep = keep || sub.Name() == name
		}
		if !keep {
			cmd.RemoveCommand(sub)
		}
	}
	return cmd
}

// adopt has a command of kubectl's and those below it fail as ours do, and speak of
// games and of the program by its name.
func adopt(cmd *cobra.Command, connection *connection) {
	program := connection.program
	rename := strings.NewReplacer(program+" ", program+" ", "kubectl ", program+" ")
	cmd.Long = rename.Replace(cmd.Long)
	cmd.Example = rename.Replace(cmd.Example)
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { flag.Usage = rename.Replace(flag.Usage) })
	if lines, ok := recordExamples[cmd.Name()]; ok && cmd.Parent() == cmd.Root() {
		cmd.Example = "  " + program + " " + strings.Join(lines, "\n  "+program+" ")
	}
	if run := cmd.Run; run != nil {
		cmd.Run, cmd.RunE = nil, func(cmd *cobra.Command, args []string) (err error) {
			defer func() {
				switch met := recover().(type) {
				case nil:
				case *failure:
					err = connection.retell(met)
				default:
					panic(met)
				}
			}()
			run(cmd, args)
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		adopt(sub, connection)
	}
}

// recordExamples are what one does with games; kubectl's own are about pods. Each
// begins behind the program's name.
var recordExamples = map[string][]string{
	"get": {
		"get gr",
		"get gr -A -o wide",
		"get gr chess -o yaml",
		"get gr -w",
		"get --raw '/readyz?verbose'",
	},
	"describe": {"describe gr chess", "describe gr -n league"},
	"apply":    {"apply -f chess.yaml", "apply -k config/samples", "apply --server-side -f chess.yaml"},
	"diff":     {"diff -f chess.yaml"},
	"create":   {"create -f chess.yaml", "create namespace league"},
	"replace":  {"replace -f chess.yaml"},
	"patch":    {`patch gr chess --type=merge -p '{"spec":{"image":"galaxy/demo-game:1.0.1"}}'`},
	"edit":     {"edit gr chess"},
	"label":    {"label gr chess season=autumn", "label gr chess season-"},
	"annotate": {"annotate gr chess note='ask the league before a restart'"},
	"delete":   {"delete gr chess", "delete -f chess.yaml"},
	"wait": {
		"wait --for=condition=Ready gr/chess",
		"wait --for=jsonpath='{.status.phase}'=Stopped gr/chess --timeout=1m",
		"wait --for=delete gr/chess",
	},
	"events":        {"events --for gr/chess", "events -A -w"},
	"explain":       {"explain gr.spec", "explain gr.spec.probes --recursive"},
	"api-resources": {"api-resources"},
	"api-versions":  {"api-versions"},
	"auth":          {"auth whoami", "auth can-i delete gr -n league"},
}
