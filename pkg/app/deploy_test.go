package app

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// stopTimeout is what an orderly end may take, part by part.
const stopTimeout = loopStopTimeout + databaseStopTimeout

// knownVariables fails on an environment variable of ours that no flag reads.
func knownVariables(t *testing.T, values map[string]string) {
	t.Helper()
	config := DefaultConfig()
	groups := config.Flags()
	for _, flags := range groups.FlagSets {
		require.NoError(t, FromEnvironment(flags, func(name string) (string, bool) {
			value, ok := values[name]
			delete(values, name)
			return value, ok
		}))
	}
	for name := range values {
		require.NotContains(t, name, EnvironmentPrefix, "no flag reads it")
	}
}

func TestCompose(t *testing.T) {
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  t.TempDir(),
		ConfigFiles: types.ToConfigFiles([]string{"../../config/compose/compose.yaml"}),
		Environment: types.Mapping{"DOCKER_GID": "997", "VERSION": "v1.2.0"},
	}, func(o *loader.Options) { o.SetProjectName("runtime-manager", true) })
	require.NoError(t, err)
	manager := project.Services["manager"]
	require.Equal(t, "galaxy/runtime-manager:v1.2.0", manager.Image)
	require.Equal(t, []string{"997"}, manager.GroupAdd)
	require.Greater(t, time.Duration(*manager.StopGracePeriod), stopTimeout)

	values := map[string]string{}
	for name, value := range manager.Environment {
		values[name] = *value
	}
	passwords := filepath.Join(t.TempDir(), "pgpass")
	require.NoError(t, os.WriteFile(passwords, []byte("*:*:*:runtime_manager:secret\n"), 0o600))
	database, err := pgx.ParseConfig(strings.Replace(values["RTM_DATABASE_URL"], "/run/secrets/pgpass", passwords, 1))
	require.NoError(t, err)
	require.Equal(t, "secret", database.Password)
	knownVariables(t, values)

	require.Len(t, project.Services, 3)
	for name, service := range project.Services {
		require.NotEqual(t, name != "manager", service.HealthCheck == nil, name)
		for _, port := range service.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, name)
		}
	}
	_, err = loader.LoadWithContext(t.Context(), types.ConfigDetails{
		ConfigFiles: types.ToConfigFiles([]string{"../../config/compose/compose.yaml"}), Environment: types.Mapping{},
	})
	require.ErrorContains(t, err, "stat -c %g /var/run/docker.sock", "what is missing, and where it is found")
}

const unitFile = "../../config/systemd/runtime-manager.service"

func TestUnit(t *testing.T) {
	content, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	unit := string(content)
	for _, line := range []string{"Type=notify", "KillMode=mixed", "UMask=0077", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="} {
		require.Contains(t, unit, "\n"+line+"\n")
	}
	stop, err := time.ParseDuration(regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)[1] + "s")
	require.NoError(t, err)
	require.Greater(t, stop, stopTimeout)
	values := map[string]string{}
	for _, variable := range regexp.MustCompile(`(?m)^Environment=(\w+)=(.*)$`).FindAllStringSubmatch(unit, -1) {
		values[variable[1]] = variable[2]
	}
	require.NotEmpty(t, values)
	knownVariables(t, values)
}

// What systemd itself has to say about the unit.
func TestUnitBySystemd(t *testing.T) {
	content, err := os.ReadFile(unitFile)
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), filepath.Base(unitFile))
	installed := strings.Replace(string(content), "/usr/local/bin/runtime-manager", "/bin/true", 1)
	require.NoError(t, os.WriteFile(unit, []byte(installed), 0o600))
	for _, args := range [][]string{
		{"verify", unit},
		{"security", "--no-pager", "--offline=yes", "--threshold=20", unit}, // 100 is a service without any limits
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "systemd-analyze", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotRegexp(t, `\.service:\d+:`, string(out), "a line that systemd does not understand")
	}
}
