package docker

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

var selfID = strings.Repeat("0a", 32)

func TestMountedFrom(t *testing.T) {
	at := func(root, place string) string {
		return "712 700 0:45 / /proc rw - proc proc rw\n713 700 254:1 " + root + " " + place + " rw,relatime - ext4 /dev/vda1 rw\n"
	}
	cases := map[string]struct {
		mountinfo string
		id        string
	}{
		"in a container":                 {at("/var/lib/docker/containers/"+selfID+"/hostname", "/etc/hostname"), selfID},
		"with data on a disk of its own": {at("/docker/containers/"+selfID+"/hostname", "/etc/hostname"), selfID},
		"on an engine's host":            {at("/var/lib/docker/containers/"+selfID+"/hostname", "/var/lib/docker/containers/"+selfID+"/mounts/shm"), ""},
		"with a name of its own":         {at("/home/chess/hostname", "/etc/hostname"), ""},
		"not mounted from a container":   {at("/var/lib/docker/containers/"+selfID+"/hostname.old", "/etc/hostname"), ""},
		"nothing to read":                {"713 700\n\n", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.id, mountedFrom(c.mountinfo)) })
	}
}

// What we run in is connected if it is known to be ours, and needs it.
func TestJoinNetwork(t *testing.T) {
	const bridge = `"State":{"Running":true},"HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":{}}}`
	alone := `[{"Id":"` + selfID + `","HostConfig":{"NetworkMode":"bridge"}},{"Id":"2","HostConfig":{"NetworkMode":"container:3"}}]`
	cases := map[string]struct {
		self, found, all string
		networks         string
		joins            bool
	}{
		"on the bridge":           {selfID, bridge, alone, `[{"Name":"galaxy","Id":"1"}]`, true},
		"in no container":         {"", bridge, alone, `[{"Name":"galaxy","Id":"1"}]`, false},
		"no network":              {selfID, bridge, alone, `[]`, false},
		"another engine's":        {selfID, "", alone, `[{"Name":"galaxy","Id":"1"}]`, false},
		"there already":           {selfID, strings.Replace(bridge, `"bridge":{}`, `"galaxy":{}`, 1), alone, `[{"Name":"galaxy","Id":"1"}]`, false},
		"not running":             {selfID, strings.Replace(bridge, "true", "false", 1), alone, `[{"Name":"galaxy","Id":"1"}]`, false},
		"on the host's":           {selfID, strings.Replace(bridge, `"NetworkMode":"bridge"`, `"NetworkMode":"host"`, 1), alone, `[{"Name":"galaxy","Id":"1"}]`, false},
		"used by another":         {selfID, bridge, strings.Replace(alone, "container:3", "container:"+selfID, 1), `[{"Name":"galaxy","Id":"1"}]`, false},
		"used by another by name": {selfID, bridge, strings.Replace(alone, "container:3", "container:manager", 1), `[{"Name":"galaxy","Id":"1"}]`, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			joined := ""
			client := answer(t, func(w http.ResponseWriter, r *http.Request) {
				switch path := r.URL.Path; {
				case strings.HasSuffix(path, "/networks/1/connect"):
					joined = path
					says(http.StatusOK, ``)(w, r)
				case strings.HasSuffix(path, "/networks"):
					says(http.StatusOK, c.networks)(w, r)
				case strings.HasSuffix(path, "/containers/json"):
					says(http.StatusOK, c.all)(w, r)
				case strings.HasSuffix(path, "/containers/"+selfID+"/json") && c.found != "":
					says(http.StatusOK, `{"Id":"`+selfID+`","Name":"/manager",`+c.found+`}`)(w, r)
				default:
					says(http.StatusNotFound, `{"message":"no such container"}`)(w, r)
				}
			})
			client.self = c.self
			require.NoError(t, client.JoinNetwork(t.Context(), "galaxy"))
			require.Equal(t, c.joins, joined != "")
			joined = ""
			if c.networks != "[]" {
				require.NoError(t, client.EnsureNetwork(t.Context(), "galaxy", "ours"))
				require.Equal(t, c.joins, joined != "")
			}
		})
	}
}

func TestJoinTellsWhatFails(t *testing.T) {
	c := answer(t, says(http.StatusInternalServerError, `{"message":"no more addresses"}`))
	c.self = selfID
	err := c.JoinNetwork(t.Context(), "galaxy")
	require.Equal(t, engine.Failed, engine.KindOf(err))
	require.ErrorContains(t, err, "join network galaxy: no more addresses")
}
