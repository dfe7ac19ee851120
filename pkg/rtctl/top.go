package rtctl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// topAtOnce bounds the games that are measured at the same time.
const topAtOnce = 16

// topOptions are what top is told on the command line.
type topOptions struct {
	sortBy   string
	all      bool
	selector string
	output   string
}

func topCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := topOptions{sortBy: "name", output: outputTable}
	cmd := &cobra.Command{
		Use:   "top [GAME...]",
		Short: "Show what games use of processor and memory",
		Long: `Show what games use of processor and memory at the moment.

CPU is in thousandths of a core, over what the engine takes for a look: a second at
most. MEMORY is what docker stats shows. A game that does not run uses nothing, and
is no item of the list that json and yaml are.`,
		Example: "  rtctl top\n  rtctl top -A --sort-by cpu\n  rtctl top chess go -o wide",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), streams, connection, args)
		},
	}
	cmd.Flags().StringVar(&o.sortBy, "sort-by", o.sortBy, "name, or the most of cpu or memory first")
	cmd.Flags().BoolVarP(&o.all, "all-namespaces", "A", o.all, "of all namespaces")
	cmd.Flags().StringVarP(&o.selector, "selector", "l", o.selector, "only games with such labels, as in season=autumn")
	cmd.Flags().StringVarP(&o.output, "output", "o", o.output, "table, wide, json or yaml")
	return cmd
}

// topRow is a game and what it uses; nil is nothing.
type topRow struct {
	game  *v1alpha1.GameRuntime
	stats *v1alpha1.GameRuntimeStats
	// failed is why that is not known.
	failed error
}

func (o topOptions) run(ctx context.Context, streams genericiooptions.IOStreams, connection *connection, names []string) error {
	printer, err := tableOr(o.output)
	if err != nil {
		return err
	}
	order, known := topOrders[o.sortBy]
	if !known {
		return fmt.Errorf("--sort-by: must be name, cpu or memory, is %q", o.sortBy)
	}
	client, namespace, err := connection.client()
	if err != nil {
		return err
	}
	if o.all {
		namespace = metav1.NamespaceAll
	}
	rows, err := o.games(ctx, connection, client, namespace, names)
	if err != nil {
		return err
	}
	if len(rows) == 0 && isTable(o.output) {
		fmt.Fprintln(streams.ErrOut, "There are no games here.")
		return nil
	}
	if err := measure(ctx, client, rows); err != nil {
		return connection.explain(err)
	}
	rows = slices.DeleteFunc(rows, func(r topRow) bool { return apierrors.IsNotFound(r.failed) }) // gone by now
	slices.SortStableFunc(rows, order)
	var shown runtime.Object = topList(rows)
	if isTable(o.output) {
		shown = topTable(rows, o.all)
	}
	if err := printer.PrintObj(shown, streams.Out); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return tellUnmeasured(streams, rows)
}

// games are those that are meant, by their names.
func (o topOptions) games(ctx context.Context, connection *connection, client *rest.RESTClient, namespace string, names []string) ([]topRow, error) {
	list := &v1alpha1.GameRuntimeList{}
	request := client.Get().Namespace(namespace).Resource("gameruntimes")
	if o.selector != "" {
		request.Param("labelSelector", o.selector)
	}
	if err := request.Do(ctx).Into(list); err != nil {
		return nil, connection.explain(err)
	}
	var rows []topRow
	missing := slices.Clone(names)
	for i := range list.Items {
		game := &list.Items[i]
		if len(names) > 0 && !slices.Contains(names, game.Name) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == game.Name })
		rows = append(rows, topRow{game: game})
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: there is no such game: %s", strings.Join(missing, ", "), connection.listGamesHint())
	}
	return rows, nil
}

// measure asks for what each game uses. It fails where there is no sense in asking
// for the others.
func measure(ctx context.Context, client *rest.RESTClient, rows []topRow) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(topAtOnce)
	for i := range rows {
		row := &rows[i]
		group.Go(func() error {
			stats := &v1alpha1.GameRuntimeStats{}
			err := client.Get().Namespace(row.game.Namespace).Resource("gameruntimes").Name(row.game.Name).SubResource("stats").Do(ctx).Into(stats)
			switch {
			case err == nil:
				row.stats = stats
			case apierrors.IsConflict(err): // it does not run
			case apierrors.IsNotFound(err), apierrors.IsTimeout(err):
				row.failed = err
			default:
				return err
			}
			return nil
		})
	}
	return group.Wait()
}

// tellUnmeasured names the games that the engine did not answer for.
func tellUnmeasured(streams genericiooptions.IOStreams, rows []topRow) error {
	failed := false
	for _, row := range rows {
		if row.failed != nil {
			fmt.Fprintf(streams.ErrOut, "%s/%s: %v\n", row.game.Namespace, row.game.Name, row.failed)
			failed = true
		}
	}
	if failed {
		return &failure{code: 1} // each was told
	}
	return nil
}

// topOrders are by name, as the server lists them, or by the most that is used.
var topOrders = map[string]func(a, b topRow) int{
	"name":   func(topRow, topRow) int { return 0 },
	"cpu":    func(a, b topRow) int { return cmp.Compare(b.cpu(), a.cpu()) },
	"memory": func(a, b topRow) int { return cmp.Compare(b.memory(), a.memory()) },
}

// cpu is in thousandths of a core; -1 is for what does not run.
func (r topRow) cpu() int64 {
	if r.stats == nil {
		return -1
	}
	return r.stats.Usage.CPU.MilliValue()
}

func (r topRow) memory() int64 {
	if r.stats == nil {
		return -1
	}
	return r.stats.Usage.Memory.Value()
}

var topColumns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string"},
	{Name: "Phase", Type: "string"},
	{Name: "CPU", Type: "string"},
	{Name: "Memory", Type: "string"},
	{Name: "Limit", Type: "string"},
	{Name: "Memory%", Type: "string"},
	{Name: "Pids", Type: "string"},
	{Name: "Received", Type: "string", Priority: 1},
	{Name: "Sent", Type: "string", Priority: 1},
	{Name: "Read", Type: "string", Priority: 1},
	{Name: "Written", Type: "string", Priority: 1},
}

// topList is what programs read of the games that run.
func topList(rows []topRow) *metav1.List {
	list := &metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: []runtime.RawExtension{}}
	for _, row := range rows {
		if row.stats != nil {
			row.stats.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GameRuntimeStats"))
			list.Items = append(list.Items, runtime.RawExtension{Object: row.stats})
		}
	}
	return list
}

func topTable(rows []topRow, namespaced bool) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: topColumns}
	if namespaced {
		table.ColumnDefinitions = slices.Insert(slices.Clone(topColumns), 0, metav1.TableColumnDefinition{Name: "Namespace", Type: "string"})
	}
	for _, row := range rows {
		cells := row.cells()
		if namespaced {
			cells = slices.Insert(cells, 0, any(row.game.Namespace))
		}
		table.Rows = append(table.Rows, metav1.TableRow{Cells: cells})
	}
	return table
}

func (r topRow) cells() []any {
	cells := []any{r.game.Name, orDash(string(r.game.Status.Phase))}
	if r.stats == nil {
		for len(cells) < len(topColumns) {
			cells = append(cells, "-")
		}
		return cells
	}
	limit, share := "-", "-"
	if most := r.stats.Limits.Memory; most != nil {
		limit, share = bytesOf(most.Value()), fmt.Sprintf("%d%%", 100*r.memory()/most.Value())
	}
	return append(cells, fmt.Sprintf("%dm", r.cpu()), bytesOf(r.memory()), limit, share, r.stats.Usage.Pids,
		bytesOf(r.stats.Network.Received), bytesOf(r.stats.Network.Sent), bytesOf(r.stats.Disk.Read), bytesOf(r.stats.Disk.Written))
}

// bytesOf is a number of bytes, to a tenth of the unit that suits it.
func bytesOf(n int64) string {
	in, units := float64(n), []string{"B", "Ki", "Mi", "Gi"}
	for len(units) > 1 && in >= 1<<10 {
		in, units = in/(1<<10), units[1:]
	}
	return strings.TrimSuffix(strconv.FormatFloat(in, 'f', 1, 64), ".0") + units[0]
}
