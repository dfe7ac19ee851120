//go:build integration

package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/rest"
)

// service makes a request as a service on this machine does.
func (m *manager) service(method, path, body string) (status int, answer rest.Answer) {
	m.t.Helper()
	request, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.app.services.Addr().String()+"/api/v1/internal/runtimes/"+path, strings.NewReader(body))
	require.NoError(m.t, err)
	request.Header.Set("X-Galaxy-Caller", "game-master")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(m.t, err)
	defer response.Body.Close()
	require.NoError(m.t, json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer
}

// A service has a game started, patched, stopped and cleaned up, waits for each on
// a real engine, and stands in its history as who asked.
func TestServiceOverREST(t *testing.T) {
	m := startManager(t, nil)
	spec, err := json.Marshal(game("served").Spec)
	require.NoError(t, err)
	status, answer := m.service("POST", "served/start?wait=1m", `{"image":"`+demoImage+`","spec":`+string(spec)+`}`)
	require.Equal(t, http.StatusOK, status, answer.Result.Message)
	require.NotEmpty(t, answer.Result.OperationID)
	require.Equal(t, "http://served.default:8080", answer.Runtime.Endpoint)
	require.Equal(t, m.containers("served"), []string{answer.Runtime.ContainerID})

	status, answer = m.service("POST", "served/patch?wait=1m", `{"image":"`+newerImage+`"}`)
	require.Equal(t, http.StatusOK, status, answer.Result.Message)
	require.Equal(t, newerImage, answer.Runtime.ContainerImage)

	status, answer = m.service("POST", "served/stop?wait=1m", "")
	require.Equal(t, http.StatusOK, status, answer.Result.Message)
	require.NotEmpty(t, answer.Result.OperationID)

	status, answer = m.service("DELETE", "served?wait=1m", "")
	require.Equal(t, http.StatusOK, status, answer.Result.Message)
	require.Nil(t, answer.Runtime)
	require.Empty(t, m.containers("served"))
	m.awaitHistory("served", "create Succeeded galaxy-game-master", "stop Succeeded galaxy-game-master")
}

// A game that cannot start is told of with the first try.
func TestServiceIsToldOfAFailure(t *testing.T) {
	m := startManager(t, nil)
	status, answer := m.service("POST", "broken/start?wait=1m", `{"image":"`+demoImage+`","spec":{"command":["/no/such/program"]}}`)
	require.Equal(t, http.StatusBadGateway, status, answer.Result.Message)
	require.Equal(t, "container_start_failed", answer.Result.ErrorCode)
	require.NotNil(t, answer.Runtime.Pending)

	status, answer = m.service("POST", "pulled/start?wait=1m", `{"image":"127.0.0.1:9/galaxy/none:1.0.0"}`)
	require.Equal(t, http.StatusBadGateway, status, answer.Result.Message)
	require.Equal(t, "image_pull_failed", answer.Result.ErrorCode)
}
