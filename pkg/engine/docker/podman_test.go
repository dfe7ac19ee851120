//go:build integration && podman

package docker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine/enginetest"
	"galaxy.io/runtime-manager/pkg/engine/enginetest/registrytest"
)

// podmanDiffers names the parts of the suite that Podman 4.3 does not pass over
// its Docker-compatible socket, and why. docs/deployment.md tells what it
// means for games.
var podmanDiffers = map[string]string{
	"identity is stable":                    "its id is another one at each call",
	"create shows what was asked for":       "short image names get docker.io/ before them; what is dropped, shared and mounted reads otherwise, though it is as asked",
	"what it was made from is shown":        "added capabilities are not shown, stop signals are numbers, picked ports are shown as asked for",
	"what cannot be made is refused":        "every refusal is a 500, and memory is not looked at before the start",
	"images are looked up":                  "short names get docker.io/ before them",
	"an image is pulled":                    "the pull tells of no progress in bytes",
	"the last lines are told":               "a very long line is missing from them",
	"output is read in its streams":         "the lines of earlier runs are told whatever the time that was asked for",
	"output ends with its reader":           "no answer begins before there is a line",
	"a program has streams":                 "what does not run refuses a program with a 500",
	"use is measured":                       "that of what does not run ends without an answer",
	"stop outlives its caller":              "a container that is asked to stop is in a state of its own, stopping",
	"out of memory is told":                 "not by the inspect: on cgroup v1, conmon leaves its note in the service's directory",
	"a start that fails leaves its reason":  "the inspect has no error and no exit code of a start that failed",
	"a start that fails keeps the last end": "the same",
	"a lost state directory is not made up": "it is refused, with a 500",
	"host ports are picked and fixed":       "a start that failed for its port leaves no error",
	"limits change in place":                "there is no such call",
	"the network is made once":              "a container's network must be there when it is created",
	"the image's own check is told":         "systemd's timers run it, and not where there is no systemd",
	"events are replayed":                   "a stop tells of no kill",
	"events tell a life":                    "no update; remove for destroy",
}

// What the suite is told when it runs against Podman, in a process of its own.
const (
	podmanImage   = "PODMAN_TEST_IMAGE"
	podmanChecked = "PODMAN_TEST_CHECKED"
	podmanLogin   = "PODMAN_TEST_LOGIN"
)

// TestPodman holds the suite's failures against the table, both ways. A failure
// cannot be taken back in the process where it happened, so the suite has one of
// its own: TestPodmanConformance.
func TestPodman(t *testing.T) {
	registry := registrytest.Start(t)
	published := registry.Push(buildGame(t), "galaxy/game:1.0.0")
	withCheck := registry.Push(buildGame(t, checked), "galaxy/checked-game:1.0.0")
	login := filepath.Join(t.TempDir(), "config.json")
	registry.Login(login, registrytest.Password)

	suite := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestPodmanConformance$", "-test.v")
	suite.Env = append(os.Environ(), "DOCKER_HOST="+startPodman(t, registry.Host),
		podmanImage+"="+published, podmanChecked+"="+withCheck, podmanLogin+"="+login)
	output, err := suite.CombinedOutput()
	parts := regexp.MustCompile(`(?m)^    --- (PASS|FAIL): TestPodmanConformance/([^/\s]+) `).FindAllStringSubmatch(string(output), -1)
	require.NotEmpty(t, parts, "%v: %s", err, output)
	differs := map[string]bool{}
	for _, part := range parts {
		name := strings.ReplaceAll(part[2], "_", " ")
		_, known := podmanDiffers[name]
		differs[name] = known
		assert.Equal(t, known, part[1] == "FAIL", "%s: %s", name, part[1])
	}
	for name := range podmanDiffers {
		assert.True(t, differs[name], "%s is no part of the suite", name)
	}
	if t.Failed() {
		t.Logf("%s", output)
	}
}

func TestPodmanConformance(t *testing.T) {
	published := os.Getenv(podmanImage)
	if published == "" {
		t.Skip("TestPodman runs it")
	}
	game, withCheck := buildGame(t), os.Getenv(podmanChecked)
	t.Run("pull", func(t *testing.T) { // an import of Podman's takes no HEALTHCHECK
		c := newClient(t)
		c.registryConfig = os.Getenv(podmanLogin)
		require.NoError(t, c.PullImage(t.Context(), withCheck, nil))
	})
	enginetest.Conformance(t, func(t *testing.T) enginetest.Fixture {
		f := newFixture(t, game)
		f.Checked, f.Published = withCheck, published
		f.Engine.(*Client).registryConfig = os.Getenv(podmanLogin)
		return f
	})
}

// startPodman serves a Podman that shares nothing with the one of this machine
// but the host's kernel, and trusts a registry without TLS.
func startPodman(t *testing.T, registry string) (host string) {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "podman") //nolint:usetesting // overlay does not stack, and a socket's path is short
	require.NoError(t, err)
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{
		// Limits are lowered at most: that, every sandbox allows.
		"containers.conf": "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n" +
			"[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = \"" + at("networks") + "\"\n",
		"registries.conf": "[[registry]]\nlocation = \"" + registry + "\"\ninsecure = true\n",
	} {
		require.NoError(t, os.WriteFile(at(name), []byte(content), 0o600))
	}
	podman := func(args ...string) *exec.Cmd {
		args = append([]string{"--root", at("root"), "--runroot", at("run"), "--tmpdir", at("tmp"), "--cgroup-manager", "cgroupfs"}, args...)
		command := exec.Command("podman", args...)
		command.Dir = dir // conmon leaves files in it
		command.Env = append(os.Environ(), "CONTAINERS_CONF="+at("containers.conf"), "CONTAINERS_REGISTRIES_CONF="+at("registries.conf"))
		return command
	}
	log, err := os.Create(at("log"))
	require.NoError(t, err)
	defer log.Close()
	service, host := podman("system", "service", "--time=0", "unix://"+at("sock")), "unix://"+at("sock")
	service.Stdout, service.Stderr = log, log
	require.NoError(t, service.Start())
	t.Cleanup(func() {
		_ = service.Process.Kill()
		_ = service.Wait() // it was killed
		out, err := podman("system", "reset", "--force").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NoError(t, os.RemoveAll(dir))
	})
	c, err := New(Options{Host: host})
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.Info(ctx)
		return err == nil
	}, time.Minute, 100*time.Millisecond, "podman does not start")
	return host
}
