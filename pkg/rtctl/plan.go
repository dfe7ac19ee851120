package rtctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/rest"
	"k8s.io/kubectl/pkg/cmd/apply"
	"k8s.io/kubectl/pkg/cmd/diff"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// planOptions are what plan is told on the command line.
type planOptions struct {
	files      resource.FilenameOptions
	serverSide bool
	manager    string
	output     string
	colour     colourFlag
}

func planCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := &planOptions{output: outputText}
	cmd := &cobra.Command{
		Use:   "plan [-f FILE | -k DIRECTORY | GAME...]",
		Short: "Show what would be done for the records in files, or what is to be done for a game",
		Long: "Show what the manager would do if the records in files were applied, without doing it:\n" +
			"would this restart my game? What would be applied is found out as kubectl diff does, so\n" +
			"that wrong records are refused. With names of games, show what is still to be done for\n" +
			"their records as they are.\n\n" + differenceCodes,
		Example: "  rtctl plan -f chess.yaml\n  rtctl plan -k config/samples\n  rtctl get gr chess -o yaml | sed s/1.0.0/1.0.1/ | rtctl plan -f -\n  rtctl plan chess",
	}
	seekDifferences(cmd, func(cmd *cobra.Command, args []string) (bool, error) { return o.run(cmd, streams, connection, args) })
	flags := cmd.Flags()
	cmdutil.AddFilenameOptionFlags(cmd, &o.files, "that holds records")
	flags.BoolVar(&o.serverSide, "server-side", o.serverSide, "as rtctl apply --server-side --force-conflicts would leave the records")
	flags.StringVar(&o.manager, "field-manager", o.manager, "on whose behalf the records are applied; as rtctl apply does, if empty")
	flags.StringVarP(&o.output, "output", "o", o.output, "text, json or yaml")
	o.colour.add(flags)
	return cmd
}

func (o *planOptions) run(cmd *cobra.Command, streams genericiooptions.IOStreams, connection *connection, games []string) (differs bool, err error) {
	fromFiles := !cmdutil.IsFilenameSliceEmpty(o.files.Filenames, o.files.Kustomize)
	if fromFiles == (len(games) > 0) {
		return false, errors.New("plan takes the records in files by -f or -k, or else the names of games")
	}
	palette, err := o.colour.palette(streams.Out)
	if err != nil {
		return false, err
	}
	show, err := printerOf[*v1alpha1.GameRuntimePlan](o.output)
	if err != nil {
		return false, err
	}
	client, namespace, err := connection.client()
	if err != nil {
		return false, err
	}
	ask := func(game types.NamespacedName, record []byte) (*v1alpha1.GameRuntimePlan, error) {
		return askPlan(cmd.Context(), connection, client, game, record)
	}
	var plans []*v1alpha1.GameRuntimePlan
	if fromFiles {
		plans, err = o.planFiles(streams, connection, ask)
	} else {
		for _, game := range games {
			var plan *v1alpha1.GameRuntimePlan
			if plan, err = ask(types.NamespacedName{Namespace: namespace, Name: game}, nil); err != nil {
				break
			}
			plans = append(plans, plan)
		}
	}
	if err != nil {
		return false, err
	}
	for _, plan := range plans {
		differs = differs || !plan.InSync
	}
	if show != nil {
		return differs, show(streams.Out, plans)
	}
	for _, plan := range plans {
		tellPlan(streams.Out, palette, plan, time.Local)
	}
	return differs, nil
}

// askPlan asks the manager about a game with a record, or as it is stored.
func askPlan(ctx context.Context, connection *connection, client *rest.RESTClient, game types.NamespacedName, record []byte) (*v1alpha1.GameRuntimePlan, error) {
	plan := &v1alpha1.GameRuntimePlan{}
	err := client.Post().Namespace(game.Namespace).Resource("gameruntimes").Name(game.Name).SubResource("plan").
		SetHeader("Content-Type", runtime.ContentTypeJSON).Body(record).Do(ctx).Into(plan)
	switch {
	case record == nil && apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err):
		return nil, fmt.Errorf("%s: there is no such game: %s", game, connection.listGamesHint())
	case err != nil:
		return nil, fmt.Errorf("%s: %w", game, connection.explain(err))
	}
	plan.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GameRuntimePlan"))
	return plan, nil
}

// planFiles asks about each game in files, with the record that applying it would
// leave.
func (o *planOptions) planFiles(streams genericiooptions.IOStreams, connection *connection, ask func(types.NamespacedName, []byte) (*v1alpha1.GameRuntimePlan, error)) ([]*v1alpha1.GameRuntimePlan, error) {
	namespace, enforce, err := connection.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	result := resource.NewBuilder(connection).Unstructured().
		NamespaceParam(namespace).DefaultNamespace().FilenameParam(enforce, &o.files).Flatten().Do()
	var plans []*v1alpha1.GameRuntimePlan
	err = result.Visit(func(info *resource.Info, err error) error {
		switch {
		case err != nil:
			return err
		case info.Mapping.GroupVersionKind.GroupKind() != v1alpha1.GroupVersion.WithKind("GameRuntime").GroupKind():
			fmt.Fprintf(streams.ErrOut, "%s: %s %s is no game, and left out\n", info.Source, info.Mapping.GroupVersionKind.Kind, info.Name)
			return nil
		}
		record, err := o.applied(streams, info)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", info.Namespace, info.Name, connection.explain(err))
		}
		plan, err := ask(types.NamespacedName{Namespace: info.Namespace, Name: info.Name}, record)
		plans = append(plans, plan)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(plans) == 0 {
		return nil, errors.New("there is no game in the files")
	}
	return plans, nil
}

// applied is the record that applying a file would leave: a dry run tells.
func (o *planOptions) applied(streams genericiooptions.IOStreams, info *resource.Info) ([]byte, error) {
	local := info.Object.DeepCopyObject()
	if err := info.Get(); apierrors.IsNotFound(err) {
		info.Object = nil
	} else if err != nil {
		return nil, err
	}
	manager := o.manager
	switch {
	case manager != "":
	case o.serverSide:
		manager = "kubectl"
	default:
		manager = apply.FieldManagerClientSideApply
	}
	merged, err := diff.InfoObject{
		LocalObj: local, Info: info, Force: true, ServerSideApply: o.serverSide, ForceConflicts: true, FieldManager: manager, IOStreams: streams,
	}.Merged()
	if apierrors.IsForbidden(err) { // who may only look may ask all the same
		fmt.Fprintf(streams.ErrOut, "%s/%s: you may not apply it, and what it leaves out is taken for the default\n", info.Namespace, info.Name)
		merged, err = local, nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(merged)
}

// tellPlan tells people of one plan: what it comes to, what differs, and the steps.
func tellPlan(out io.Writer, palette palette, plan *v1alpha1.GameRuntimePlan, place *time.Location) {
	colour := green
	switch {
	case plan.StopsGame:
		colour = red
	case !plan.InSync:
		colour = yellow
	}
	fmt.Fprintf(out, "%s: %s\n", palette.paint(bold, plan.Game), palette.paint(colour, verdict(plan)))
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, d := range plan.Drift {
		actual, desired := sides(d)
		mark, change := "~", actual+" → "+desired
		switch {
		case actual == "" && desired == "":
			change = ""
		case actual == "":
			mark, change = "+", desired
		case desired == "":
			mark, change = "-", actual
		}
		fmt.Fprintf(table, "  %s %s\t%s\t%s\n", mark, d.Field, change, d.Action)
	}
	_ = table.Flush() // as a print
	for i, step := range plan.Actions {
		fmt.Fprintf(out, "  %d. %s\n", i+1, oneLine(tellStep(step, place)))
	}
}

func tellStep(step v1alpha1.PlannedAction, place *time.Location) string {
	switch {
	case step.Action != v1alpha1.ActionWait && step.Reason != "":
		return step.Message + ": " + step.Reason
	case step.Action != v1alpha1.ActionWait:
		return step.Message
	case step.Until == nil:
		return fmt.Sprintf("wait (%s): %s", step.Reason, step.Message)
	}
	return fmt.Sprintf("wait until %s (%s): %s", step.Until.In(place).Format(time.TimeOnly), step.Reason, step.Message)
}

// verdict is a plan in one line.
func verdict(plan *v1alpha1.GameRuntimePlan) string {
	if plan.InSync {
		return "in sync, nothing to do"
	}
	first := map[string]int{} // the first step of each kind, from 1
	destructive, stops := false, 0
	for i, step := range plan.Actions {
		if first[step.Action] == 0 {
			first[step.Action] = i + 1
		}
		if step.StopsGame {
			stops = i + 1
		}
		destructive = destructive || step.Destructive
	}
	does := deed(first, stops)
	if destructive {
		does += ", AND ITS STATE IS REMOVED"
	}
	wait := plan.Actions[0]
	switch {
	case wait.Action != v1alpha1.ActionWait:
		return does
	case len(plan.Actions) == 1:
		return "waits: " + wait.Reason
	case stops > 0 && !plan.StopsGame:
		return "held back (" + wait.Reason + "), else it " + does
	}
	return does + ", but waits first: " + wait.Reason
}

// deed is what the steps come to for whoever plays.
func deed(first map[string]int, stops int) string {
	starts := first[v1alpha1.ActionStart]
	switch {
	case stops > 0 && starts > stops:
		return "RESTARTS the game"
	case stops > 0:
		return "STOPS the game"
	case first[v1alpha1.ActionCreate] > 0:
		return "creates and starts the game"
	case starts > 0:
		return "starts the game"
	case first[v1alpha1.ActionUpdate] > 0 || first[v1alpha1.ActionRename] > 0:
		return "changes the container in place, without a restart"
	case first[v1alpha1.ActionRemove] > 0:
		return "removes a container that does not run"
	}
	return "goes on"
}
