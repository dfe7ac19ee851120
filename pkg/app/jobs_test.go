//go:build integration

package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// A job becomes a record, a container and a result; one that names no image has
// the Lobby's.
func TestJobsFromAStreamToItsResult(t *testing.T) {
	lobby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"game_id": %q, "status": "running", "engine_image": "galaxy/demo-game", "engine_version": "1.0.0"}`, path.Base(r.URL.Path))
	}))
	t.Cleanup(lobby.Close)
	server := redistest.StartServer(t)
	results := read(t, server, "runtime:job_results")
	m := startManager(t, func(c *Config) { c.RedisURL, c.LobbyURL = server.URL(), lobby.URL })
	client := server.Client(t)
	ask := func(stream, id, name string, more ...string) told {
		values := append([]string{"job_id", id, "game_id", name, "requested_at_ms", "1764000000000", "requested_by", "lobby"}, more...)
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: values}).Err())
		return results.await(t, func(r told) bool { return r.JobID == id })
	}

	result := ask("runtime:start_jobs", "start-asked", "asked")
	require.Equal(t, "success", result.Outcome, "%+v", result)
	record := m.read("asked")
	require.Equal(t, demoImage, record.Spec.Image)
	require.Equal(t, v1alpha1.ContainerRunning, record.Status.Container.State)
	require.Equal(t, record.Status.Container.StartedBy, result.OperationID)
	require.Len(t, m.containers("asked"), 1)

	result = ask("runtime:start_jobs", "start-named", "named", "image_ref", newerImage, "spec", `{"restartPolicy":"Never"}`)
	require.Equal(t, "success", result.Outcome, "%+v", result)
	require.Equal(t, newerImage, m.read("named").Spec.Image)
	require.Equal(t, v1alpha1.RestartNever, m.read("named").Spec.RestartPolicy)

	result = ask("runtime:start_jobs", "start-far", "named", "image_ref", "galaxy/demo-game:2.0.0")
	require.Equal(t, v1alpha1.CodeSemverPatchOnly, result.ErrorCode, "%+v", result)
	result = ask("runtime:start_jobs", "start-wrong", "wrong", "image_ref", demoImage, "spec", `{"ports": [`)
	require.Equal(t, v1alpha1.CodeInvalidRequest, result.ErrorCode, "%+v", result)
	result = ask("runtime:start_jobs", "start-missing", "missing", "image_ref", "galaxy/demo-game:9.9.9", "spec", `{"imagePullPolicy":"Never"}`)
	require.Equal(t, v1alpha1.CodeImagePullFailed, result.ErrorCode, "%+v", result)

	result = ask("runtime:stop_jobs", "stop-asked", "asked")
	require.Equal(t, "success", result.Outcome, "%+v", result)
	require.Equal(t, v1alpha1.ContainerStopped, m.read("asked").Status.Container.State)
	result = ask("runtime:stop_jobs", "stop-nobody", "nobody")
	require.Equal(t, v1alpha1.CodeNotFound, result.ErrorCode, "%+v", result)
}
