package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/streaming/pkg/httpstream"

	"galaxy.io/runtime-manager/pkg/engine"
)

// exec runs a program in a game, on streams over the client's connection.
func (c console) exec(w http.ResponseWriter, req *http.Request, game types.NamespacedName) error {
	options, err := execOptions(req.URL.Query())
	if err != nil {
		return err
	}
	if !httpstream.IsUpgradeRequest(req) {
		return apierrors.NewBadRequest("a program is run over WebSocket or SPDY: the request asks for no upgrade")
	}
	if err := c.mayCreate(req.Context()); err != nil {
		return err
	}
	container, err := c.running(req.Context(), game)
	if err != nil {
		return err
	}
	ctx, end, err := c.session(req, c.programs)
	if err != nil {
		return err
	}
	defer end(nil)
	streams, err := converse(ctx, w, req, options, func() { end(context.Canceled) })
	if err != nil { // the client was told
		c.log.V(1).Info("a client did not come to its streams", "game", game, "cause", err.Error())
		return nil
	}
	defer streams.close()
	code, err := c.Engine.Run(ctx, container.ID, streams.program(ctx, options))
	streams.tell(c.outcome(ctx, code, err, game))
	return nil
}

// outcome is how a program ended, as clients expect it to be told.
func (c console) outcome(ctx context.Context, code int32, err error, game types.NamespacedName) metav1.Status {
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		return errStopping.Status()
	case err != nil && ctx.Err() != nil:
		return metav1.Status{Status: metav1.StatusFailure} // the client has left
	case err != nil:
		return c.explain(err, game).Status()
	case code == 0:
		return metav1.Status{Status: metav1.StatusSuccess}
	}
	return metav1.Status{
		Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason,
		Message: fmt.Sprintf("the program ended with exit code %d", code),
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
			{Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(int(code))},
		}},
	}
}

// mayCreate has a GET, as WebSocket's is, judged as what it does: who may read
// need not be who may run programs.
func (c console) mayCreate(ctx context.Context) error {
	attributes, err := filters.GetAuthorizerAttributes(ctx)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if attributes.GetVerb() == "create" { // the server's filters asked
		return nil
	}
	asked := creating{attributes}
	decision, reason, err := c.authorizer.Authorize(ctx, asked)
	if decision == authorizer.DecisionAllow {
		return nil
	}
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	return responsewriters.ForbiddenStatusError(asked, reason)
}

// creating is a request taken for one that creates.
type creating struct{ authorizer.Attributes }

// GetVerb is what is asked in truth.
func (creating) GetVerb() string { return "create" }

// IsReadOnly is no more.
func (creating) IsReadOnly() bool { return false }

// execution is what of PodExecOptions has a meaning here.
type execution struct {
	command                    []string
	stdin, stdout, stderr, tty bool
}

func execOptions(query url.Values) (execution, error) {
	p := &parameters{Values: query}
	p.onlyContainer()
	o := execution{
		command: query["command"],
		stdin:   p.has("stdin", false), stdout: p.has("stdout", true), stderr: p.has("stderr", true), tty: p.has("tty", false),
	}
	if len(o.command) == 0 || o.command[0] == "" {
		p.refuse("command", "a program is needed, and its arguments one by one")
	}
	if o.tty && o.stderr {
		if query.Has("stderr") {
			p.refuse("stderr", "a terminal has no stderr of its own: tty is given, too")
		}
		o.stderr = false
	}
	if !o.stdin && !o.stdout && !o.stderr {
		p.refuse("stdout", "one of stdin, stdout and stderr is needed")
	}
	return o, p.err
}

// program is what the engine is asked for.
func (s *streams) program(ctx context.Context, o execution) engine.Program {
	p := engine.Program{Command: o.command, Terminal: o.tty, Sizes: s.sizes}
	if o.stdin {
		p.Stdin = s.stdin
	}
	if o.stdout {
		p.Stdout = s.stdout
	}
	if o.stderr {
		p.Stderr = s.stderr
	}
	return p
}
