package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func serve(t *testing.T, dir string) (*server, *httptest.Server) {
	g, err := openGame("chess", "1.0.0", dir)
	require.NoError(t, err)
	s := newServer(g)
	web := httptest.NewServer(s.handler())
	t.Cleanup(web.Close)
	return s, web
}

func post(t *testing.T, url string) *http.Response {
	answer, err := http.Post(url, "", nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func code(t *testing.T, url string) int {
	answer, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

func TestTurnsSurviveTheProcess(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "turn.json.new"), []byte("cut off by a crash"), 0o600))
	for want := 1; want <= 3; want++ {
		_, web := serve(t, dir)
		var now status
		require.NoError(t, json.NewDecoder(post(t, web.URL+"/api/v1/turn").Body).Decode(&now))
		require.Equal(t, want, now.Turn)
		require.Equal(t, "1.0.0", now.Version)
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "no half-written turn is left behind")
}

func TestBrokenStateIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "turn.json"), []byte("{"), 0o600))
	_, err := openGame("chess", "1.0.0", dir)
	require.Error(t, err)
}

func TestMisbehaviour(t *testing.T) {
	s, web := serve(t, t.TempDir())
	require.Equal(t, 200, code(t, web.URL+"/healthz"))
	post(t, web.URL+"/misbehave/fail-ready")
	require.Equal(t, 500, code(t, web.URL+"/readyz"))
	require.Equal(t, 200, code(t, web.URL+"/healthz"))
	post(t, web.URL+"/misbehave/fail-health")
	require.Equal(t, 500, code(t, web.URL+"/healthz"))
	post(t, web.URL+"/misbehave/recover")
	require.Equal(t, 200, code(t, web.URL+"/readyz"))

	post(t, web.URL+"/misbehave/hang")
	impatient := http.Client{Timeout: 100 * time.Millisecond}
	answer, err := impatient.Get(web.URL + "/healthz")
	if err == nil {
		_ = answer.Body.Close()
	}
	require.True(t, os.IsTimeout(err), "a game that hangs does not answer")
	post(t, web.URL+"/misbehave/recover")
	require.Equal(t, 200, code(t, web.URL+"/healthz"))

	post(t, web.URL+"/misbehave/freeze")
	require.Equal(t, 500, post(t, web.URL+"/api/v1/turn").StatusCode)
	require.Equal(t, 200, code(t, web.URL+"/api/v1/status"), "a game that froze answers")
	post(t, web.URL+"/misbehave/recover")
	require.Equal(t, 200, post(t, web.URL+"/api/v1/turn").StatusCode)

	exited := 0
	s.exit = func(code int) { exited = code }
	post(t, web.URL+"/misbehave/crash?code=3")
	require.Equal(t, 3, exited)
	require.Equal(t, http.StatusNotFound, post(t, web.URL+"/misbehave/nothing").StatusCode)
}

func TestFlappingIsCountedByProbe(t *testing.T) {
	_, web := serve(t, t.TempDir())
	post(t, web.URL+"/misbehave/flap?times=2")
	for _, want := range []int{500, 500, 200, 200, 500, 500, 200} {
		require.Equal(t, want, code(t, web.URL+"/healthz"))
		require.Equal(t, want, code(t, web.URL+"/readyz"))
	}
	answer, err := http.Get(web.URL + "/api/v1/status")
	require.NoError(t, err)
	defer answer.Body.Close()
	var told struct{ Answered map[string]int }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&told))
	require.Equal(t, map[string]int{"health": 7, "ready": 7}, told.Answered)
	post(t, web.URL+"/misbehave/recover")
	require.Equal(t, 200, code(t, web.URL+"/readyz"))
}
