package rtctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// driftOptions are what drift is told on the command line.
type driftOptions struct {
	all    bool
	watch  bool
	output string
	colour colourFlag
}

func driftCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := &driftOptions{output: outputText}
	cmd := &cobra.Command{
		Use:   "drift [GAME...]",
		Short: "Show where containers differ from their records, field by field",
		Long: "Show where containers differ from their records, field by field: what there is (-), what\n" +
			"there should be (+), since when, and what would mend it. Containers of ours without a\n" +
			"record are among them.\n\n" + differenceCodes,
		Example: "  rtctl drift\n  rtctl drift chess go\n  rtctl drift -A -w",
	}
	seekDifferences(cmd, func(cmd *cobra.Command, args []string) (bool, error) {
		return o.run(cmd.Context(), streams, connection, args)
	})
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all-namespaces", "A", o.all, "the games of all namespaces")
	flags.BoolVarP(&o.watch, "watch", "w", o.watch, "go on, and show each change of a game's drift")
	flags.StringVarP(&o.output, "output", "o", o.output, "text, or as a DriftReport: json or yaml")
	o.colour.add(flags)
	return cmd
}

func (o *driftOptions) run(ctx context.Context, streams genericiooptions.IOStreams, connection *connection, games []string) (differs bool, err error) {
	palette, err := o.colour.palette(streams.Out)
	if err != nil {
		return false, err
	}
	show, err := printerOf[*v1alpha1.DriftReport](o.output)
	switch {
	case err != nil:
		return false, err
	case o.watch && show != nil:
		return false, errors.New("--watch shows text alone")
	case o.all && len(games) > 0:
		return false, errors.New("games by name are of one namespace: leave --all-namespaces out")
	}
	client, namespace, err := connection.client()
	if err != nil {
		return false, err
	}
	if o.all {
		namespace = metav1.NamespaceAll
	}
	scope := driftScope{namespace: namespace, games: games, hint: connection.listGamesHint()}
	drifts, err := scope.read(ctx, client)
	if err != nil {
		return false, connection.explain(err)
	}
	report := drifts.report()
	if show != nil {
		return len(report.Status.Items) > 0, show(streams.Out, []*v1alpha1.DriftReport{report})
	}
	teller := driftTeller{out: streams.Out, palette: palette, now: time.Now}
	for _, reason := range drifts.away {
		fmt.Fprintln(streams.ErrOut, reason)
	}
	for _, game := range drifts.differing() {
		teller.tell(game, drifts.items[game])
	}
	fmt.Fprintln(streams.Out, drifts.summary(scope))
	if o.watch {
		teller.watch(ctx, client, scope, drifts)
		return false, nil
	}
	return len(report.Status.Items) > 0, nil
}

// driftScope is which games are meant: those named, or all of a namespace, or all.
type driftScope struct {
	namespace string
	games     []string
	// hint is for whom one of them is missing.
	hint string
}

// holds says that a game, written namespace/name, is meant.
func (s driftScope) holds(game string) bool {
	namespace, name, _ := strings.Cut(game, "/")
	return (s.namespace == "" || s.namespace == namespace) && (len(s.games) == 0 || slices.Contains(s.games, name))
}

func (s driftScope) String() string {
	switch {
	case len(s.games) > 0:
		return s.namespace + "/" + strings.Join(s.games, ", ")
	case s.namespace == "":
		return "all namespaces"
	}
	return "the namespace " + s.namespace
}

// drifts are the games that are meant and what differs of each, by namespace/name.
type drifts struct {
	items   map[string][]v1alpha1.DriftItem
	records map[string]bool
	// away says of each engine that does not answer how old what is told of it is.
	away []string
}

// read asks for the records, and for the reports, which alone tell of containers
// without a record.
func (s driftScope) read(ctx context.Context, client *rest.RESTClient) (*drifts, error) {
	found := &drifts{items: map[string][]v1alpha1.DriftItem{}, records: map[string]bool{}}
	err := eachGame(ctx, client, s.namespace, func(record *v1alpha1.GameRuntime) {
		if game := record.Namespace + "/" + record.Name; s.holds(game) {
			found.records[game] = true
			found.items[game] = driftOf(record)
		}
	})
	if err != nil {
		return nil, err
	}
	var reports v1alpha1.DriftReportList
	if err := client.Get().Resource("driftreports").Do(ctx).Into(&reports); err != nil {
		return nil, err
	}
	for i := range reports.Items {
		maps.Copy(found.items, s.orphans(&reports.Items[i]))
		if reachable := meta.FindStatusCondition(reports.Items[i].Status.Conditions, v1alpha1.ConditionReachable); reachable != nil && reachable.Status == metav1.ConditionFalse {
			found.away = append(found.away, fmt.Sprintf("engine %s does not answer since %s: what is told of it is from before",
				reports.Items[i].Name, reachable.LastTransitionTime.Local().Format(time.DateTime)))
		}
	}
	for _, name := range s.games {
		game := s.namespace + "/" + name
		if !found.records[game] && len(found.items[game]) == 0 {
			return nil, fmt.Errorf("%s: there is no such game: %s", game, s.hint)
		}
	}
	return found, nil
}

// driftOf is what a record tells of its container.
func driftOf(record *v1alpha1.GameRuntime) (items []v1alpha1.DriftItem) {
	container := ""
	if c := record.Status.Container; c != nil && c.State != v1alpha1.ContainerRemoved {
		container = c.ID
	}
	for _, d := range record.Status.Drift {
		items = append(items, v1alpha1.DriftItem{Game: record.Namespace + "/" + record.Name, Container: container, Drift: d})
	}
	return items
}

// orphans are the containers without a record that a report tells of, by game.
func (s driftScope) orphans(report *v1alpha1.DriftReport) map[string][]v1alpha1.DriftItem {
	found := map[string][]v1alpha1.DriftItem{}
	for _, item := range report.Status.Items {
		if item.Kind == v1alpha1.DriftUnrecordedContainer && s.holds(item.Game) {
			found[item.Game] = append(found[item.Game], item)
		}
	}
	return found
}

// eachGame visits the records of a namespace, or of all, in pages.
func eachGame(ctx context.Context, client *rest.RESTClient, namespace string, visit func(*v1alpha1.GameRuntime)) error {
	const page = "500"
	for from := ""; ; {
		var list v1alpha1.GameRuntimeList
		request := client.Get().Namespace(namespace).Resource("gameruntimes").Param("limit", page)
		if from != "" {
			request.Param("continue", from)
		}
		err := request.Do(ctx).Into(&list)
		if apierrors.IsResourceExpired(err) && from != "" {
			return errors.New("the records changed too much while they were read: ask again")
		}
		if err != nil {
			return err
		}
		for i := range list.Items {
			visit(&list.Items[i])
		}
		if from = list.Continue; from == "" {
			return nil
		}
	}
}

// differing are the games that something is to be told of, by name.
func (d *drifts) differing() []string {
	var games []string
	for _, game := range slices.Sorted(maps.Keys(d.items)) {
		if len(d.items[game]) > 0 {
			games = append(games, game)
		}
	}
	return games
}

// report is the whole as a DriftReport of no engine.
func (d *drifts) report() *v1alpha1.DriftReport {
	report := &v1alpha1.DriftReport{}
	report.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DriftReport"))
	for _, game := range d.differing() {
		report.Status.Items = append(report.Status.Items, d.items[game]...)
		if d.records[game] {
			report.Status.Drifted++
		} else {
			report.Status.Orphans += int32(len(d.items[game]))
		}
	}
	report.Status.InSync = int32(len(d.records)) - report.Status.Drifted
	return report
}

func (d *drifts) summary(scope driftScope) string {
	status := d.report().Status
	switch {
	case len(d.records) == 0 && status.Orphans == 0:
		return fmt.Sprintf("There is no game in %s.", scope)
	case status.Drifted == 0 && status.Orphans == 0 && len(d.records) == 1:
		return slices.Collect(maps.Keys(d.records))[0] + " is in sync."
	case status.Drifted == 0 && status.Orphans == 0:
		return fmt.Sprintf("All %d games of %s are in sync.", len(d.records), scope)
	}
	told := fmt.Sprintf("%d of %s differ.", status.Drifted, plural(len(d.records), "game", "games"))
	if status.Orphans > 0 {
		told += fmt.Sprintf(" %s without a record.", plural(int(status.Orphans), "container is", "containers are"))
	}
	return told
}

// driftTeller tells people what differs.
type driftTeller struct {
	out     io.Writer
	palette palette
	now     func() time.Time
}

func (t driftTeller) tell(game string, items []v1alpha1.DriftItem) {
	fmt.Fprintln(t.out, t.palette.paint(bold, game))
	for _, item := range items {
		field := item.Field
		if field == "" {
			field = "container " + short(item.Container)
		}
		fmt.Fprintf(t.out, "  %s: %s for %s, mended by: %s\n", field, item.Kind, duration.HumanDuration(t.now().Sub(item.FirstSeen.Time)), orDash(item.Action))
		actual, desired := sides(item.Drift)
		if actual != "" {
			fmt.Fprintln(t.out, t.palette.paint(red, "  - "+actual))
		}
		if desired != "" {
			fmt.Fprintln(t.out, t.palette.paint(green, "  + "+desired))
		}
	}
}
