package docker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/pkg/engine"
)

// These are the answers that a real engine gives only with a registry, with
// another version or in trouble: told over the wire.

// answer is what an engine of the newest API says to every call but the ping.
func answer(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("API-Version", "1.51")
			return
		}
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{Host: "tcp://" + server.Listener.Addr().String()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestPullReadsTheStreamToItsEnd(t *testing.T) {
	const progress = `{"status":"Pulling from galaxy/chess","id":"1.0.0"}` + "\n"
	cases := map[string]struct {
		handle http.HandlerFunc
		kind   engine.Kind
		text   string
	}{
		"pulled":               {says(200, progress+`{"status":"Status: Downloaded newer image"}`), "", ""},
		"refused at once":      {says(404, `{"message":"manifest unknown"}`), engine.PullFailed, "manifest unknown"},
		"refused in between":   {says(200, progress+`{"errorDetail":{"message":"unauthorized"},"error":"unauthorized"}`), engine.PullFailed, "unauthorized"},
		"cut off":              {says(200, progress+`{"status":"Downl`), engine.Unreachable, "unexpected EOF"},
		"an engine in trouble": {says(500, `{"message":"no space left on device"}`), engine.PullFailed, "no space left on device"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := answer(t, c.handle).PullImage(t.Context(), "galaxy/chess:1.0.0", nil)
			require.Equal(t, c.kind, engine.KindOf(err), "%v", err)
			if c.text != "" {
				require.ErrorContains(t, err, c.text)
			}
		})
	}
}

func TestStartFailures(t *testing.T) {
	cases := map[string]struct {
		status  int
		message string
		kind    engine.Kind
	}{
		"runs already":                 {304, "", ""},
		"is gone":                      {404, "No such container: chess", engine.NotFound},
		"port of another container":    {500, "Bind for 0.0.0.0:80 failed: port is already allocated", engine.PortConflict},
		"port of another program":      {500, "listen tcp4 0.0.0.0:80: bind: address already in use", engine.PortConflict},
		"port, as new engines call it": {500, "failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: address already in use", engine.PortConflict},
		"no such program":              {400, `exec: \"/nope\": stat /nope: no such file or directory`, engine.ProgramFailed},
		"no program at all":            {400, "exec /game: exec format error", engine.ProgramFailed},
		"not to be run":                {400, `exec: \"/etc/hostname\": permission denied`, engine.ProgramFailed},
		"state directory is gone":      {400, `invalid mount config for type \"bind\": bind source path does not exist: /games/chess`, engine.MountFailed},
		"no place to mount it":         {500, `error mounting \"/games/chess\" to rootfs at \"/etc/hostname/x\": not a directory`, engine.MountFailed},
		"anything else":                {500, "unable to find user nobody: no matching entries in passwd file", engine.StartFailed},
		"paused":                       {409, "cannot start a paused container", engine.StartFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := answer(t, says(c.status, `{"message":"`+c.message+`"}`)).Start(t.Context(), "chess")
			require.Equal(t, c.kind, engine.KindOf(err), "%v", err)
		})
	}
}

func TestRemoveInProgressIsDone(t *testing.T) {
	c := answer(t, says(409, `{"message":"removal of container chess is already in progress"}`))
	require.NoError(t, c.Remove(t.Context(), "chess"))
	c = answer(t, says(500, `{"message":"driver \"overlay2\" failed to remove root filesystem: device or resource busy"}`))
	require.Equal(t, engine.Failed, engine.KindOf(c.Remove(t.Context(), "chess")))
}

func TestStopAsksForItsSignalAndGrace(t *testing.T) {
	asked := make(chan string, 1)
	c := answer(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.RawQuery
		w.WriteHeader(http.StatusNoContent)
	})
	require.NoError(t, c.Stop(t.Context(), "chess", "SIGINT", 1500*time.Millisecond))
	require.Equal(t, "signal=SIGINT&t=2", <-asked, "whole seconds, rather more than less")
	require.NoError(t, c.Stop(t.Context(), "chess", "", 0))
	require.Equal(t, "t=0", <-asked)
}

func TestEventsEndWithTheEngine(t *testing.T) {
	line := `{"Type":"container","Action":"die","Actor":{"ID":"1","Attributes":{"runtime.galaxy.io/game":"chess"}},"timeNano":1500000000}` + "\n"
	var heard []engine.Event
	c := answer(t, says(200, line))
	err := c.Events(t.Context(), "ours", time.Unix(1, 5), func() {}, func(e engine.Event) { heard = append(heard, e) })
	require.Equal(t, engine.Unreachable, engine.KindOf(err), "%v", err)
	require.ErrorIs(t, err, errStreamEnded)
	require.Equal(t, []engine.Event{{
		ContainerID: "1", Game: engine.GameID{Name: "chess"}, Action: "die", At: time.Unix(1, 500_000_000).UTC(),
	}}, heard)
}

// A stream without a since begins now, and now is the engine's.
func TestEventsBeginByTheEnginesClock(t *testing.T) {
	since := make(chan string, 1)
	c := answer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info") {
			says(200, `{"ID":"x","SystemTime":"2020-01-02T03:04:05.000000006Z"}`)(w, r)
			return
		}
		since <- r.URL.Query().Get("since")
	})
	_ = c.Events(t.Context(), "ours", time.Time{}, func() {}, func(engine.Event) {})
	require.Equal(t, "1577934245.000000006", <-since)
}

func TestNewRefusesABadAddress(t *testing.T) {
	_, err := New(Options{Host: "no address"})
	require.Error(t, err)
}

// Callers at the same moment do not each find nothing and make a network.
func TestNetworkIsMadeOnce(t *testing.T) {
	var made atomic.Int32
	second := make(chan struct{})
	asked := atomic.Int32{}
	c := answer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			made.Add(1)
			says(http.StatusCreated, `{"Id":"1"}`)(w, r)
			return
		}
		if made.Load() > 0 {
			says(http.StatusOK, `[{"Name":"galaxy","Id":"1"}]`)(w, r)
			return
		}
		if asked.Add(1) == 2 {
			close(second)
		}
		select { // the first that finds nothing waits for another to find nothing too
		case <-second:
		case <-time.After(100 * time.Millisecond):
		}
		says(http.StatusOK, `[]`)(w, r)
	})
	callers := errgroup.Group{}
	for range 4 {
		callers.Go(func() error { return c.EnsureNetwork(t.Context(), "galaxy", "ours") })
	}
	require.NoError(t, callers.Wait())
	require.EqualValues(t, 1, made.Load())
}

// Docker notes a start once it is over, when a short run may be as well.
func TestARunEndsAfterItBegan(t *testing.T) {
	const before, after = "2026-05-04T12:00:00.000000001Z", "2026-05-04T12:00:01Z"
	for name, c := range map[string]struct{ started, finished, want string }{
		"a long run":      {before, after, after},
		"a short run":     {after, before, "2026-05-04T12:00:01.000001Z"},
		"at once":         {after, after, "2026-05-04T12:00:01.000001Z"},
		"of no known end": {after, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := answer(t, says(200, `{"Id":"1","Name":"chess","State":{"Status":"exited","StartedAt":"`+c.started+`",
				"FinishedAt":"`+c.finished+`"},"Config":{},"HostConfig":{},"NetworkSettings":{}}`)).Inspect(t.Context(), "1")
			require.NoError(t, err)
			require.Equal(t, c.want, found.Exit.FinishedAt.Format(time.RFC3339Nano))
		})
	}
}
