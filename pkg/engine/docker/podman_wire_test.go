package docker

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

var leastSpec = engine.ContainerSpec{Name: "chess", Image: "galaxy/chess:1.0.0", Network: "galaxy"}

func TestPodmanHasNoSuchLogDriver(t *testing.T) {
	c := answer(t, func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		if strings.Contains(string(asked), `"Type":"local"`) {
			says(500, `{"message":"container create: running container create option: invalid log driver: invalid argument"}`)(w, r)
			return
		}
		says(201, `{"Id":"1"}`)(w, r)
	})
	id, err := c.Create(t.Context(), leastSpec)
	require.NoError(t, err)
	require.Equal(t, "1", id)
}

func TestPodmanHasNoCodeForConflicts(t *testing.T) {
	_, err := answer(t, says(500, `{"message":"the container name \"chess\" is already in use by 1: that name is already in use"}`)).Create(t.Context(), leastSpec)
	require.Equal(t, engine.NameConflict, engine.KindOf(err), "%v", err)

	refused := false
	c := answer(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			refused = true
			says(500, `{"message":"network name galaxy already used: network already exists"}`)(w, r)
		case refused:
			says(200, `[{"Name":"galaxy","Id":"1"}]`)(w, r)
		default:
			says(200, `[]`)(w, r)
		}
	})
	require.NoError(t, c.EnsureNetwork(t.Context(), "galaxy", "ours"))
}

func TestPodmanNamesTheDriverForTheNetwork(t *testing.T) {
	const told = `{"Id":"1","Name":"chess","State":{"Status":"running"},"Config":{},"HostConfig":{"NetworkMode":"bridge"},
		"NetworkSettings":{"Networks":{"galaxy":{"IPAddress":"10.89.0.2","Aliases":["chess.arena"]}}}}`
	found, err := answer(t, says(200, told)).Inspect(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, "10.89.0.2", found.IP)
	require.Equal(t, "galaxy", found.Made.Network)
	require.Equal(t, "chess.arena", found.Made.Alias)
}
