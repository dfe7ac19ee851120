//go:build integration

package app

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// The manager's image, as `make image` builds it, and the user that it runs as.
const (
	managerImage = "galaxy/runtime-manager:latest"
	managerUser  = 65532
)

// The manager runs in a container of the engine that it manages, without root: it
// comes to its games' network by itself, and their state is on the host.
func TestImageRunsGames(t *testing.T) {
	database := filepath.Join(tempDir(t), "postgres")
	postgrestest.StartServer(t, postgrestest.ServerOptions{Dir: database, Settings: []string{"unix_socket_permissions=0777"}})
	require.NoError(t, os.Chmod(database, 0o711))
	data := filepath.Join(tempDir(t), "data")
	require.NoError(t, os.Mkdir(data, 0o711))
	require.NoError(t, os.Chown(data, managerUser, managerUser))
	socket, err := os.Stat(engineSocket)
	require.NoError(t, err)

	id := dockerCLI(t, "run", "--detach", "--publish", "127.0.0.1::7443",
		"--volume", engineSocket+":/var/run/docker.sock", "--group-add", fmt.Sprint(socket.Sys().(*syscall.Stat_t).Gid),
		"--volume", data+":"+data, "--env", "RTM_DATA_DIR="+data,
		"--volume", database+":/postgres", "--env", "RTM_DATABASE_URL=postgres://runtime_manager@/postgres?host=/postgres",
		managerImage)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the manager's log:\n%s", dockerCLI(t, "logs", id))
		}
		dockerCLI(t, "rm", "--force", id)
	})
	m := &manager{t: t, kubeconfig: filepath.Join(data, "kubeconfig")}
	m.config.StateRoot = filepath.Join(data, "games")
	m.stop = func() {
		dockerCLI(t, "stop", id)
		require.Equal(t, "0", dockerCLI(t, "inspect", "-f", "{{.State.ExitCode}}", id), "an orderly end")
	}
	m.WithWatch = clientAt(t, m, dockerCLI(t, "port", id, "7443/tcp"))
	t.Cleanup(m.cleanUp)

	m.create(game("chess"))
	require.Equal(t, 1, turn(t, m.awaitReady("chess")))
	var networks map[string]any
	require.NoError(t, json.Unmarshal([]byte(dockerCLI(t, "inspect", "-f", "{{json .NetworkSettings.Networks}}", id)), &networks))
	require.Contains(t, networks, plan.NetworkName(m.installation()))
	state, err := os.Stat(firstFile(t, m.stateDir("chess")))
	require.NoError(t, err)
	require.EqualValues(t, managerUser, state.Sys().(*syscall.Stat_t).Uid, "games run as the manager's user")
}

// clientAt waits until a manager in a container answers where its port is published.
func clientAt(t *testing.T, m *manager, address string) client.WithWatch {
	var c client.WithWatch
	m.eventually("the manager serves", func() bool {
		config, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig)
		if err != nil {
			return false
		}
		config.Host = address
		c, err = client.NewWithWatch(config, client.Options{Scheme: newScheme()})
		return err == nil && c.List(t.Context(), &v1alpha1.GameRuntimeList{}) == nil
	})
	return c
}

func TestImageWithoutDatabase(t *testing.T) {
	out, err := exec.Command("docker", "run", "--rm", "--tmpfs", "/data:mode=0777", "--env", "RTM_DATA_DIR=/data", managerImage).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "no PostgreSQL programs found")
	require.Contains(t, string(out), "--database-url")
	require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
}
