package rtctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
)

// logsOptions are what logs is told on the command line.
type logsOptions struct {
	follow     bool
	tail       int64
	since      string
	timestamps bool
	limitBytes int64
}

func logsCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := logsOptions{tail: -1}
	cmd := &cobra.Command{
		Use:   "logs GAME",
		Short: "Show what a game wrote, and follow it",
		Long: `Show what a game wrote to its standard output and its standard error, as it came.

It is the log of the container that runs, or else of the newest one: what a game
wrote that stopped is there for as long as its container is kept. The log that is
followed ends with the run of the game.`,
		Example: "  rtctl logs chess\n  rtctl logs -f chess --tail 20\n  rtctl logs chess --since 1h --timestamps",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("logs takes the name of one game, got %d", len(args))
			}
			return o.run(cmd.Context(), streams, connection, args[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", o.follow, "go on with what is written from now on")
	flags.Int64Var(&o.tail, "tail", o.tail, "begin with so many of the last lines; -1 leaves it to the manager, which knows 10,000")
	flags.StringVar(&o.since, "since", o.since, "only what is newer: a duration such as 1h, or a time such as 2006-01-02T15:04:05Z")
	flags.BoolVar(&o.timestamps, "timestamps", o.timestamps, "the time before each line")
	flags.Int64Var(&o.limitBytes, "limit-bytes", o.limitBytes, "no more than so many bytes; 0 leaves it to the manager")
	return cmd
}

func (o logsOptions) run(ctx context.Context, streams genericiooptions.IOStreams, connection *connection, game string) error {
	since, err := sinceParameter(o.since)
	if err != nil {
		return err
	}
	client, namespace, err := connection.client()
	if err != nil {
		return err
	}
	request := client.Get().Namespace(namespace).Resource("gameruntimes").Name(game).SubResource("log")
	o.ask(request, since)
	stream, err := request.Stream(ctx)
	if err != nil {
		return connection.explainGame(err, namespace, game)
	}
	defer stream.Close()
	if _, err := io.Copy(streams.Out, stream); err != nil {
		return connection.explain(err)
	}
	// What is followed ends with the game, or with the manager that it comes from.
	if o.follow && client.Get().AbsPath("/readyz").MaxRetries(0).Do(ctx).Error() != nil && ctx.Err() == nil {
		return errors.New("the manager went away: the game may run on, and write")
	}
	return nil
}

// ask says what is wanted, in the terms of PodLogOptions.
func (o logsOptions) ask(request *rest.Request, since string) {
	for name, asked := range map[string]bool{"follow": o.follow, "timestamps": o.timestamps} {
		if asked {
			request.Param(name, "true")
		}
	}
	if o.tail >= 0 {
		request.Param("tailLines", strconv.FormatInt(o.tail, 10))
	}
	if o.limitBytes != 0 {
		request.Param("limitBytes", strconv.FormatInt(o.limitBytes, 10))
	}
	switch {
	case since == "":
	case strings.Contains(since, "T"):
		request.Param("sinceTime", since)
	default:
		request.Param("sinceSeconds", since)
	}
}

// explainGame is explain for what is asked of one game.
func (c *connection) explainGame(err error, namespace, game string) error {
	switch {
	case apierrors.IsNotFound(err) && !apierrors.IsUnexpectedServerError(err):
		return fmt.Errorf("%s/%s: there is no such game: %s", namespace, game, c.listGamesHint())
	case apierrors.IsConflict(err):
		_, why, _ := strings.Cut(err.Error(), `": `)
		return fmt.Errorf("%s/%s: %s: %s describe gr %s tells why", namespace, game, why, c.program, game)
	}
	return c.explain(err)
}
