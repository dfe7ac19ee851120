package rtctl

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
)

// caller is who wishes, in the history of the games.
const caller = "rtctl"

// wishOptions are what start, stop and restart are told on the command line.
type wishOptions struct {
	verb command.Verb
	// done is the verb for what came true.
	done    string
	image   string
	timeout time.Duration
	noWait  bool
}

func startCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := &wishOptions{verb: command.VerbStart, done: "started"}
	cmd := o.command(streams, connection, "Start games, and wait until they run", `
A game without a record is declared, with the image that --image names.`)
	cmd.Example = "  rtctl start chess\n  rtctl start shogi --image galaxy/demo-game:1.0.0"
	cmd.Flags().StringVar(&o.image, "image", o.image, "the game image; the one in the record, if empty")
	return cmd
}

func stopCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := &wishOptions{verb: command.VerbStop, done: "stopped"}
	cmd := o.command(streams, connection, "Stop games, and wait until they stand", `
Their records, their containers and their state stay.`)
	cmd.Example = "  rtctl stop chess go"
	return cmd
}

func restartCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := &wishOptions{verb: command.VerbRestart, done: "restarted"}
	cmd := o.command(streams, connection, "Restart games, and wait until they run again", `
Each gets a new container, with the same state.`)
	cmd.Example = "  rtctl restart chess\n  rtctl restart chess go --no-wait"
	return cmd
}

func (o *wishOptions) command(streams genericiooptions.IOStreams, connection *connection, short, long string) *cobra.Command {
	o.timeout = 5 * time.Minute
	cmd := &cobra.Command{
		Use:   string(o.verb) + " GAME...",
		Short: short,
		Long: short + "." + long + `

It is a write to each record, which stands whoever waits for it: what a first try
failed at goes on being tried. It ends with 0 where all came true, and with 1 where
a first try failed or the time was over.`,
		RunE: func(cmd *cobra.Command, games []string) error {
			if len(games) == 0 {
				return fmt.Errorf("%s takes the names of games", o.verb)
			}
			return o.run(cmd.Context(), streams, connection, games)
		},
	}
	cmd.Flags().DurationVar(&o.timeout, "timeout", o.timeout, "how long to wait; 0 is for as long as it takes")
	cmd.Flags().BoolVar(&o.noWait, "no-wait", o.noWait, "only write the records")
	return cmd
}

func (o *wishOptions) run(ctx context.Context, streams genericiooptions.IOStreams, connection *connection, games []string) error {
	client, namespace, err := connection.client()
	if err != nil {
		return err
	}
	// A commander is patient with a server that is away: people want to know.
	if err := client.Get().AbsPath("/version").MaxRetries(0).Do(ctx).Error(); err != nil {
		return connection.explain(err)
	}
	config, err := connection.ToRESTConfig()
	if err != nil {
		return err
	}
	dynamicClient, err := dynamic.NewForConfig(config)
	if err != nil {
		return connection.explain(err)
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	commander := command.New(dynamicClient, namespace)
	progress := newProgress(streams, len(games) == 1)
	defer progress.close()
	var all sync.WaitGroup
	failed := make(chan struct{}, len(games))
	for _, game := range games {
		all.Go(func() {
			if !o.carryOut(ctx, connection, commander, game, progress) {
				failed <- struct{}{}
			}
		})
	}
	all.Wait()
	if errors.Is(ctx.Err(), context.Canceled) {
		return &failure{code: interrupted} // each was told
	}
	if len(failed) > 0 {
		return &failure{code: 1} // each was told
	}
	return nil
}

// carryOut has one wish written, tells what becomes of it, and says whether it
// came true.
func (o *wishOptions) carryOut(ctx context.Context, connection *connection, commander *command.Commander, game string, progress *progress) bool {
	began := time.Now()
	answer, err := o.wish(ctx, commander, game)
	if err != nil {
		progress.end(game, fmt.Sprintf("not %s: %v", o.done, refusal(connection, err)), false)
		return false
	}
	result := answer.Result
	switch {
	case !o.noWait:
		result = commander.Await(ctx, answer, func(record *v1alpha1.GameRuntime) { progress.tell(game, doing(record, answer.Accepted)) })
	case result.ErrorCode == "":
		result.Message = "the record says so now, and nobody waits for what comes of it"
	}
	outcome := o.outcome(result, time.Since(began))
	if result.Outcome == command.Failure && errors.Is(ctx.Err(), context.Canceled) {
		outcome = "nobody waits any longer: " + withoutIDs(result.Message)
	}
	progress.end(game, outcome, result.Outcome == command.Success)
	return result.Outcome == command.Success
}

func (o *wishOptions) wish(ctx context.Context, commander *command.Commander, game string) (command.Answer, error) {
	wish := command.Wish{Game: game, Caller: caller}
	switch o.verb {
	case command.VerbStart:
		return commander.Start(ctx, command.Start{Wish: wish, Image: o.image})
	case command.VerbStop:
		return commander.Stop(ctx, wish)
	default:
		return commander.Restart(ctx, command.Restart{Wish: wish})
	}
}

// refusal is why a record was not written, in the words of who called the command.
func refusal(connection *connection, err error) error {
	var refused *command.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch cause := refused.Unwrap(); {
	case cause != nil && (refused.Code == v1alpha1.CodeServiceUnavailable || refused.Code == v1alpha1.CodeInternalError):
		return connection.explain(cause)
	case refused.Code == v1alpha1.CodeInvalidRequest && refused.Field == "image":
		return fmt.Errorf("%w: --image names it", err)
	case refused.Code == v1alpha1.CodeNotFound && cause == nil:
		return fmt.Errorf("%w: %s", err, connection.listGamesHint())
	}
	return err
}

// outcome is how a wish ended, in one line.
func (o *wishOptions) outcome(result command.Result, after time.Duration) string {
	took := after.Round(10 * time.Millisecond)
	operation := ""
	if result.OperationID != "" {
		operation = " (operation " + result.OperationID + ")"
	}
	switch {
	case result.Outcome == command.Failure:
		return fmt.Sprintf("not %s within %s: %s: %s%s", o.done, took, result.ErrorCode, withoutIDs(result.Message), operation)
	case o.noWait || result.ErrorCode == v1alpha1.CodeReplayNoOp:
		return result.Message + operation
	}
	return fmt.Sprintf("%s in %s%s", o.done, took, operation)
}

var containerID = regexp.MustCompile(` [0-9a-f]{12}\b`)

// withoutIDs is what is done to a game's container, of which there is one.
func withoutIDs(message string) string { return containerID.ReplaceAllString(message, "") }

// doing is what goes on, as far as the status tells of the wish already.
func doing(record *v1alpha1.GameRuntime, wish command.Accepted) string {
	if record == nil || record.Status.ObservedGeneration < wish.Generation {
		return "waiting for the manager"
	}
	told := string(record.Status.Phase)
	if pending := record.Status.Pending; pending != nil {
		told += ", " + withoutIDs(pending.Message)
		if next := pending.NextTry; next != nil && pending.Failures > 0 {
			told += fmt.Sprintf(" (%s; next try at %s)", pending.Reason, next.Local().Format(time.TimeOnly))
		}
	}
	return told
}
