package rtctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	exitcode "k8s.io/client-go/util/exec"
	kubectlexec "k8s.io/kubectl/pkg/cmd/exec"
	"k8s.io/kubectl/pkg/util/term"
)

// execOptions are what exec is told on the command line.
type execOptions struct {
	stdin, tty bool
}

func execCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	o := execOptions{}
	cmd := &cobra.Command{
		Use:   "exec GAME -- COMMAND [ARGUMENT...]",
		Short: "Run a program in a game that runs",
		Long: `Run a program of the game's image in its container, as the game's user, and end
with the program's exit code. Administrators alone may do that.

A program whose input ends, or whose terminal hangs up, is expected to end: nobody
can end it from outside but with the game. Images that are made of nothing but a
game have no shell.`,
		Example: "  rtctl exec chess -- /demo-game check\n  rtctl exec -it chess -- /bin/sh",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return errors.New("exec takes the name of one game, and after -- a program and its arguments")
			}
			return o.run(cmd.Context(), streams, connection, args[0], args[1:])
		},
	}
	cmd.Flags().BoolVarP(&o.stdin, "stdin", "i", o.stdin, "the program reads the standard input")
	cmd.Flags().BoolVarP(&o.tty, "tty", "t", o.tty, "the program has a terminal, where the standard input is one; with -i")
	return cmd
}

func (o execOptions) run(ctx context.Context, streams genericiooptions.IOStreams, connection *connection, game string, command []string) error {
	client, namespace, err := connection.client()
	if err != nil {
		return err
	}
	config, err := connection.ToRESTConfig()
	if err != nil {
		return err
	}
	session := &kubectlexec.StreamOptions{Stdin: o.stdin, TTY: o.tty, IOStreams: streams}
	terminal := session.SetupTTY()
	var sizes remotecommand.TerminalSizeQueue
	if terminal.Raw {
		sizes = sizeQueue{terminal.MonitorSize(terminal.GetSize())}
		session.ErrOut = nil // a terminal has one stream
	}
	location := client.Post().Namespace(namespace).Resource("gameruntimes").Name(game).SubResource("exec").
		SpecificallyVersionedParams(&corev1.PodExecOptions{
			Command: command, Stdin: session.In != nil, Stdout: true, Stderr: session.ErrOut != nil, TTY: terminal.Raw,
		}, clientscheme.ParameterCodec, corev1.SchemeGroupVersion).URL()
	err = terminal.Safe(func() error {
		executor := &kubectlexec.DefaultRemoteExecutor{}
		return executor.ExecuteWithContext(ctx, location, config, session.In, session.Out, session.ErrOut, terminal.Raw, sizes)
	})
	var exit exitcode.CodeExitError
	if errors.As(err, &exit) {
		return &failure{fmt.Sprintf("the program ended with exit code %d", exit.Code), exit.Code}
	}
	return connection.explainGame(connection.refusal(err), namespace, game)
}

// refusal is an error with the code of the answer that refused the streams: of that
// answer the library keeps the message alone.
func (c *connection) refusal(err error) error {
	if err == nil {
		return nil
	}
	message, refused := strings.CutPrefix(err.Error(), "unable to upgrade connection: ")
	c.met.Lock()
	defer c.met.Unlock()
	if !refused || c.met.response == nil {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(c.met.response.StatusCode), Message: message,
	}}
}

// sizeQueue is kubectl's watch of a terminal, for the library that asks it.
type sizeQueue struct{ term.TerminalSizeQueue }

// Next waits for the next size.
func (q sizeQueue) Next() *remotecommand.TerminalSize {
	size := q.TerminalSizeQueue.Next()
	if size == nil {
		return nil
	}
	return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
}
