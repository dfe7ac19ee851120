package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"galaxy.io/runtime-manager/pkg/engine/enginetest"
)

// protocol is one of the two that client-go has.
type protocol func(config *rest.Config, location *url.URL) (remotecommand.Executor, error)

func webSocket(config *rest.Config, location *url.URL) (remotecommand.Executor, error) {
	return remotecommand.NewWebSocketExecutor(config, "GET", location.String())
}

func overSpdy(config *rest.Config, location *url.URL) (remotecommand.Executor, error) {
	return remotecommand.NewSPDYExecutor(config, "POST", location)
}

var protocols = map[string]protocol{"WebSocket": webSocket, "SPDY": overSpdy}

// stream runs a program as the administrator.
func (a *api) stream(ctx context.Context, over protocol, namespace, name string, options remotecommand.StreamOptions, command ...string) error {
	location := a.request("POST", namespace, name, "exec", nil).VersionedParams(&corev1.PodExecOptions{
		Command: command, Stdin: options.Stdin != nil, Stdout: options.Stdout != nil, Stderr: options.Stderr != nil, TTY: options.Tty,
	}, scheme.ParameterCodec).URL()
	executor, err := over(a.admin, location)
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, options)
}

func (a *api) run(over protocol, namespace, name string, stdin io.Reader, command ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	err = a.stream(ctx, over, namespace, name, remotecommand.StreamOptions{Stdin: stdin, Stdout: &out, Stderr: &errs}, command...)
	return out.String(), errs.String(), err
}

func testExec(t *testing.T, a *api) {
	namespace := a.namespace("exec")
	a.declare(namespace, "chess")
	a.play(namespace, "chess")
	for name, over := range protocols {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := a.in(t).run(over, namespace, "chess", nil, enginetest.GamePath, enginetest.Say, "first", "second")
			require.NoError(t, err)
			require.Equal(t, []string{"first\n", "second\n"}, []string{stdout, stderr})
			_, _, err = a.in(t).run(over, namespace, "chess", nil, enginetest.GamePath, enginetest.Exit, "255")
			var exit exec.CodeExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 255, exit.Code)
			_, _, err = a.in(t).run(over, namespace, "chess", nil, "/no/such/program")
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 127, exit.Code)
		})
	}
	a.awaitClosed()
}

func testExecInput(t *testing.T, a *api) {
	namespace := a.namespace("exec-input")
	a.declare(namespace, "chess")
	a.play(namespace, "chess")
	long := strings.Repeat("turn ", 100_000) // many frames, to an end
	for name, over := range protocols {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := a.in(t).run(over, namespace, "chess", strings.NewReader(long), enginetest.GamePath, enginetest.Echo)
			require.NoError(t, err)
			require.Equal(t, len(long), len(stdout))
			require.Equal(t, long, stdout)
		})
	}
}

// sizes are a terminal's, as a person changes them.
type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, more := <-s
	if !more {
		return nil
	}
	return &size
}

func testExecTerminal(t *testing.T, a *api) {
	namespace := a.namespace("exec-terminal")
	a.declare(namespace, "chess")
	a.play(namespace, "chess")
	for name, over := range protocols {
		t.Run(name, func(t *testing.T) {
			input, typed := io.Pipe()
			heard, screen := io.Pipe()
			window, done := make(sizes), make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			go func() {
				err := a.in(t).stream(ctx, over, namespace, "chess", remotecommand.StreamOptions{
					Stdin: input, Stdout: screen, Tty: true, TerminalSizeQueue: window,
				}, enginetest.GamePath, enginetest.Size)
				_ = screen.CloseWithError(err)
				done <- err
			}()
			lines := bufio.NewScanner(heard)
			for _, size := range []remotecommand.TerminalSize{{Width: 80, Height: 24}, {Width: 132, Height: 43}} {
				window <- size
				require.True(t, lines.Scan(), "%v", lines.Err())
				require.Equal(t, fmt.Sprintf("%dx%d", size.Width, size.Height), lines.Text())
			}
			close(window)
			_, err := io.WriteString(typed, "\x04")
			require.NoError(t, err)
			require.NoError(t, <-done)
			require.NoError(t, typed.Close())
		})
	}
	a.awaitClosed()
}

// A client that goes away leaves nothing behind on the engine's side.
func testExecLeft(t *testing.T, a *api) {
	namespace := a.namespace("exec-left")
	a.declare(namespace, "chess")
	a.play(namespace, "chess")
	for name, over := range protocols {
		for _, typing := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s typing %t", name, typing), func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				options := remotecommand.StreamOptions{Stdout: io.Discard, Stderr: io.Discard}
				command := []string{enginetest.GamePath, enginetest.Exit, "0", "1h"}
				if typing {
					input, typed := io.Pipe()
					defer typed.Close()
					options.Stdin, command = input, []string{enginetest.GamePath, enginetest.Echo}
				}
				done := make(chan error, 1)
				go func() { done <- a.in(t).stream(ctx, over, namespace, "chess", options, command...) }()
				require.Eventually(t, func() bool { return a.engine.open.Load() == 1 }, patience, time.Millisecond)
				leave()
				require.Error(t, <-done)
				a.in(t).awaitClosed()
			})
		}
	}
}

func testNoExec(t *testing.T, a *api) {
	namespace := a.namespace("no-exec")
	a.declare(namespace, "bare", "ended")
	a.awaitEnd(a.play(namespace, "ended", enginetest.Exit, "0"))
	for name, want := range map[string]string{"nobody": `"nobody" not found`, "bare": "it has no container", "ended": "it does not run"} {
		_, _, err := a.run(overSpdy, namespace, name, nil, enginetest.GamePath)
		require.ErrorContains(t, err, want)
		_, _, err = a.run(webSocket, namespace, name, nil, enginetest.GamePath)
		require.Error(t, err)
	}
}

func testBadExec(t *testing.T, a *api) {
	for detail, query := range map[string]url.Values{
		"command: Invalid value": {},
		"stderr: Invalid value":  {"command": {"x"}, "tty": {"true"}, "stderr": {"true"}},
		"stdout: Invalid value":  {"command": {"x"}, "stdout": {"false"}, "stderr": {"false"}},
		"stdin: Invalid value":   {"command": {"x"}, "stdin": {"perhaps"}},
		"container: Invalid":     {"command": {"x"}, "container": {"sidecar"}},
		"asks for no upgrade":    {"command": {"x"}},
	} {
		for _, verb := range []string{"GET", "POST"} {
			err := a.request(verb, "default", "nobody", "exec", query).Do(t.Context()).Error()
			require.True(t, apierrors.IsBadRequest(err), "%v", err)
			require.ErrorContains(t, err, detail)
		}
	}
}

// Who may read everything may not run a program by a GET.
func TestExecIsJudgedAsCreating(t *testing.T) {
	mayCreate := false
	var judged authorizer.Attributes
	c := console{authorizer: authorizer.AuthorizerFunc(func(_ context.Context, asked authorizer.Attributes) (authorizer.Decision, string, error) {
		judged = asked
		if asked.GetVerb() == "create" && !mayCreate {
			return authorizer.DecisionNoOpinion, "", nil // no role allows it
		}
		return authorizer.DecisionAllow, "", nil
	})}
	ctx := genericapirequest.WithUser(t.Context(), &user.DefaultInfo{Name: "viewer"})
	ctx = genericapirequest.WithRequestInfo(ctx, &genericapirequest.RequestInfo{
		IsResourceRequest: true, Verb: "get", APIGroup: "runtime.galaxy.io", APIVersion: "v1alpha1",
		Namespace: "default", Resource: "gameruntimes", Subresource: "exec", Name: "chess",
	})
	err := c.mayCreate(ctx)
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	require.ErrorContains(t, err, `User "viewer" cannot create resource "gameruntimes/exec" in API group "runtime.galaxy.io" in the namespace "default"`)
	require.False(t, judged.IsReadOnly())
	mayCreate = true
	require.NoError(t, c.mayCreate(ctx))
}
