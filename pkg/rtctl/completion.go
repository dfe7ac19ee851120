package rtctl

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/util/completion"
)

// completionPatience is how long somebody who pressed Tab waits for the manager.
const completionPatience = 3 * time.Second

// gameNames completes the names of games, each with its phase. Only the first word
// is one, unless the command's Use takes more.
func gameNames(connection *connection) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !strings.Contains(cmd.Use, "GAME...") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		games, err := listGames(cmd, connection)
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for name, phase := range games {
			if strings.HasPrefix(name, word) && !slices.Contains(args, name) {
				names = append(names, cobra.CompletionWithDesc(name, phase))
			}
		}
		slices.Sort(names)
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// listGames asks for the phases of the games, by name: as a table, since there may
// be thousands of records.
func listGames(cmd *cobra.Command, connection *connection) (map[string]string, error) {
	client, namespace, err := connection.client()
	if err != nil {
		return nil, err
	}
	content, err := client.Get().Namespace(namespace).Resource("gameruntimes").
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Param("includeObject", string(metav1.IncludeNone)).
		Timeout(completionPatience).DoRaw(cmd.Context())
	if err != nil {
		return nil, connection.explain(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(content, &table); err != nil {
		return nil, fmt.Errorf("reading the table of games: %w", err)
	}
	column := func(name string) int {
		return slices.IndexFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool { return c.Name == name })
	}
	name, phase := column("Name"), column("Phase")
	if name < 0 || phase < 0 {
		return nil, fmt.Errorf("the table of games has no name or no phase")
	}
	games := map[string]string{}
	for _, row := range table.Rows {
		game, _ := row.Cells[name].(string)
		games[game], _ = row.Cells[phase].(string) // none, of a game that nobody has looked at
	}
	return games, nil
}

// completeWords completes the values of a verb's flags that take a few words.
func completeWords(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		var words []string
		switch {
		case flag.Name == "color":
			words = []string{"always", "never", "auto"}
		case flag.Name == "sort-by":
			words = slices.Sorted(maps.Keys(topOrders))
		case flag.Name == "output" && isTable(flag.DefValue):
			words = []string{outputTable, outputWide, "json", "yaml"}
		case flag.Name == "output":
			words = []string{outputText, "json", "yaml"}
		default:
			return
		}
		if err := cmd.RegisterFlagCompletionFunc(flag.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag is the command's: a programming error
		}
	})
}

// completeFlags completes the values of the flags that every verb has.
func completeFlags(root *cobra.Command, connection *connection) {
	namespaces := completion.ResourceNameCompletionFunc(cmdutil.NewFactory(cmdutil.NewMatchVersionFlags(connection)), "namespaces")
	for flag, complete := range map[string]cobra.CompletionFunc{
		"namespace": func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return namespaces(cmd, nil, word)
		},
		"context": func(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			config, err := connection.ToRawKubeConfigLoader().RawConfig()
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return slices.DeleteFunc(slices.Sorted(maps.Keys(config.Contexts)), func(name string) bool {
				return !strings.HasPrefix(name, word)
			}), cobra.ShellCompDirectiveNoFileComp
		},
	} {
		if err := root.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // the flags are ours: a programming error
		}
	}
}
