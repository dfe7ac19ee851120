package rtctl

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// historyOptions are what history is told on the command line.
type historyOptions struct {
	since  string
	limit  int
	output string
}

func historyCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := historyOptions{output: outputTable}
	cmd := &cobra.Command{
		Use:   "history GAME",
		Short: "Show what was done to a game and what happened to it, the newest last",
		Long: "Show what was done to a game and what happened to it, the newest last.\n\n" +
			"The history of a game outlives its record, for as long as the manager keeps it.",
		Example: "  rtctl history chess\n  rtctl history chess --since 1h\n  rtctl history chess -n league -o yaml",
		Args:    oneGame,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), streams, connection, args[0])
		},
	}
	cmd.Flags().StringVar(&o.since, "since", o.since, "only what is newer: a duration such as 1h, or a time such as 2006-01-02T15:04:05Z")
	cmd.Flags().IntVar(&o.limit, "limit", o.limit, "only so many of the newest entries; 0 leaves it to the manager")
	cmd.Flags().StringVarP(&o.output, "output", "o", o.output, "table, wide, json or yaml")
	return cmd
}

func oneGame(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("history takes the name of one game, got %d", len(args))
	}
	return nil
}

func (o historyOptions) run(ctx context.Context, streams genericiooptions.IOStreams, connection *connection, game string) error {
	printer, err := tableOr(o.output)
	if err != nil {
		return err
	}
	since, err := sinceParameter(o.since)
	if err != nil {
		return err
	}
	client, namespace, err := connection.client()
	if err != nil {
		return err
	}
	request := client.Get().Namespace(namespace).Resource("gameruntimes").Name(game).SubResource("history")
	if since != "" {
		request.Param("since", since)
	}
	if o.limit != 0 {
		request.Param("limit", strconv.Itoa(o.limit))
	}
	history := &v1alpha1.GameRuntimeHistory{}
	err = connection.explain(request.Do(ctx).Into(history))
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s/%s: there is no such game, and no history of one: %s", namespace, game, connection.listGamesHint())
	case err != nil:
		return err
	case len(history.Items) == 0 && isTable(o.output):
		fmt.Fprintf(streams.ErrOut, "Nothing is recorded of %s/%s%s.\n", namespace, game, o.when())
		return nil
	}
	if isTable(o.output) {
		return printer.PrintObj(historyTable(history, time.Local), streams.Out)
	}
	return printer.PrintObj(history, streams.Out)
}

// sinceParameter is the API's parameter for the flag: a time as it is, and a
// duration in seconds, so that it is the manager's clock that counts.
func sinceParameter(flag string) (string, error) {
	if flag == "" {
		return "", nil
	}
	if ago, err := time.ParseDuration(flag); err == nil && ago > 0 {
		return strconv.FormatFloat(math.Ceil(ago.Seconds()), 'f', 0, 64), nil
	}
	if _, err := time.Parse(time.RFC3339, flag); err != nil {
		return "", fmt.Errorf("--since: must be a duration such as 1h, or a time such as 2006-01-02T15:04:05Z, is %q", flag)
	}
	return flag, nil
}

func (o historyOptions) when() string {
	if o.since == "" {
		return ""
	}
	return " since " + o.since
}

var historyColumns = []metav1.TableColumnDefinition{
	{Name: "When", Type: "string"},
	{Name: "What", Type: "string"},
	{Name: "Outcome", Type: "string"},
	{Name: "By", Type: "string"},
	{Name: "Took", Type: "string"},
	{Name: "Container", Type: "string", Priority: 1},
	{Name: "Operation", Type: "string", Priority: 1},
	{Name: "Detail", Type: "string"},
}

// historyTable shows a history with the times of a place.
func historyTable(history *v1alpha1.GameRuntimeHistory, place *time.Location) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: historyColumns}
	for _, e := range history.Items {
		table.Rows = append(table.Rows, metav1.TableRow{Cells: []any{
			e.At.In(place).Format(time.DateTime), e.What, orDash(outcome(e)), orDash(e.By), took(e.Duration),
			orDash(short(e.Container)), orDash(e.Operation), detail(e),
		}})
	}
	return table
}

// outcome is that of an operation, with the code of one that failed; an event has
// the code alone.
func outcome(e v1alpha1.HistoryEntry) string {
	outcome := e.Outcome
	if e.Kind == v1alpha1.HistoryOperation && outcome == "" {
		outcome = "under way"
	}
	if e.Code == "" || outcome == "" {
		return outcome + e.Code
	}
	return outcome + " (" + e.Code + ")"
}

// took is a duration to three places or so.
func took(d *metav1.Duration) string {
	switch {
	case d == nil:
		return "-"
	case d.Duration < time.Second:
		return d.Round(time.Millisecond).String()
	case d.Duration < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// short is the part of a container's id that people use.
func short(container string) string { return container[:min(len(container), 12)] }

// detail is the message, or else the details in one line: their plain values, by
// name.
func detail(e v1alpha1.HistoryEntry) string {
	if e.Message != "" || e.Details == nil {
		return e.Message
	}
	var details map[string]any
	if json.Unmarshal(e.Details.Raw, &details) != nil {
		return ""
	}
	var told []string
	for name, value := range details {
		switch value.(type) {
		case string, float64, bool:
			told = append(told, fmt.Sprintf("%s=%v", name, value))
		}
	}
	slices.Sort(told)
	return strings.Join(told, " ")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
