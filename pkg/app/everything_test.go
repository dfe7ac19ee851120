//go:build integration

package app

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// opinionated is the reference game in an image that has defaults for all that an
// image can have a default for.
func opinionated(t *testing.T) (ref string) {
	t.Helper()
	ref = "galaxy/opinionated:1.2.3-rc.1"
	archive := filepath.Join(t.TempDir(), "root.tar")
	source := dockerCLI(t, "create", demoImage)
	defer dockerCLI(t, "rm", source)
	dockerCLI(t, "export", "-o", archive, source)
	dockerCLI(t, "import",
		"--change", `ENTRYPOINT ["/nothing"]`, "--change", `CMD ["by", "default"]`, "--change", "WORKDIR /somewhere",
		"--change", "ENV LANG=C PORT=1 UNTOUCHED=yes", "--change", "LABEL a=b runtime.galaxy.io/game=another", "--change", "USER nobody",
		"--change", "VOLUME /cache", "--change", "EXPOSE 7777/udp", "--change", "HEALTHCHECK CMD /healthy", archive, ref)
	t.Cleanup(func() { _ = exec.Command("docker", "image", "rm", "-f", ref).Run() })
	return ref
}

// everything is a record with every field of the spec set, as oddly as the API
// takes it.
func everything(image string) *v1alpha1.GameRuntime {
	g := game("everything")
	probe := func() *v1alpha1.Probe {
		return &v1alpha1.Probe{HTTPGet: &v1alpha1.HTTPGetAction{Path: "/readyz", Port: 8080}, PeriodSeconds: 1, FailureThreshold: 10}
	}
	g.Spec = v1alpha1.GameRuntimeSpec{
		State: v1alpha1.StateRunning, Image: image, ImagePullPolicy: v1alpha1.PullNever,
		Command: []string{"/demo-game"}, Args: []string{"", "two words", "two words"}, WorkingDir: "/some/../where/",
		Env: []v1alpha1.EnvVar{
			{Name: "PORT", Value: "8080"}, {Name: "Z", Value: "a=b"}, {Name: "A_B", Value: " spaced "}, {Name: "A", Value: "2"}, {Name: "EMPTY"},
			{Name: "LANG", Value: "C"},
		},
		Ports: []v1alpha1.Port{
			{Name: "votes", ContainerPort: 9000, Protocol: "UDP", HostPort: ptr.To[int32](0)},
			{Name: "http", ContainerPort: 8080, HostPort: ptr.To[int32](0)},
			{Name: "again", ContainerPort: 8080, HostPort: ptr.To[int32](28081)},
			{Name: "inside", ContainerPort: 9000},
		},
		Resources:              v1alpha1.Resources{CPU: resource.MustParse("0.25"), Memory: resource.MustParse("100M"), Pids: 77},
		Storage:                v1alpha1.Storage{MountPath: "/var/./games/state", ReclaimPolicy: v1alpha1.ReclaimDelete},
		Probes:                 v1alpha1.Probes{Startup: probe(), Liveness: probe(), Readiness: probe()},
		StopGracePeriodSeconds: ptr.To[int32](7), StopSignal: "SIGINT", RetainStoppedFor: &metav1.Duration{Duration: 90 * time.Minute},
		Lifecycle:     v1alpha1.Lifecycle{PreStop: &v1alpha1.LifecycleHandler{HTTPGet: &v1alpha1.HTTPGetAction{Path: "/healthz", Port: 8080}}},
		RestartPolicy: v1alpha1.RestartOnFailure, DriftPolicy: v1alpha1.DriftEnforce, RestartedAt: ptr.To(metav1.Now()),
		Backoff: v1alpha1.Backoff{
			Initial: metav1.Duration{Duration: time.Second}, Max: metav1.Duration{Duration: 90 * time.Second}, ResetAfter: metav1.Duration{Duration: time.Hour},
		},
		Update: v1alpha1.Update{Policy: v1alpha1.UpdateMinor, OnUnhealthy: v1alpha1.UnhealthyKeep},
		SecurityContext: v1alpha1.SecurityContext{
			RunAsUser: ptr.To[int64](1234), RunAsGroup: ptr.To[int64](4321), ReadOnlyRootFilesystem: ptr.To(false),
			Capabilities: v1alpha1.Capabilities{Add: []string{"SETUID", "CHOWN"}},
		},
	}
	return g
}

func paused(value string) client.Patch {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1alpha1.AnnotationPaused, value)
	return client.RawPatch(types.MergePatchType, []byte(patch))
}

// What an engine makes of a record, and what an image adds to it, is no drift;
// what people do to the container is.
func TestOneOfEverythingIsNoDrift(t *testing.T) {
	g := everything(opinionated(t))
	for spec, i := reflect.ValueOf(g.Spec), 0; i < spec.NumField(); i++ {
		require.False(t, spec.Field(i).IsZero(), "set %s", spec.Type().Field(i).Name)
	}
	proxy := startProxy(t)
	m := startManager(t, func(c *Config) { c.DockerHost = "unix://" + proxy.path })
	m.create(g)
	first := m.await("everything", "in sync", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && isInSync(g) })
	unchanged := func() {
		t.Helper()
		g := m.await("everything", "in sync", func(g *v1alpha1.GameRuntime) bool { return isReady(g) && isInSync(g) })
		require.Empty(t, g.Status.Drift)
		require.Zero(t, g.Status.Restarts)
		require.Equal(t, first.Status.Container, g.Status.Container)
	}
	unchanged()

	awaitList := func(since time.Time) {
		m.eventually("a list", func() bool {
			loop := m.app.loop.Load()
			return loop != nil && loop.Mirror.ListedAt().After(since)
		})
	}
	relist := func() { // on a new stream, which has every container inspected
		before := m.app.loop.Load().Mirror.ListedAt()
		proxy.cut()
		proxy.mend()
		awaitList(before)
	}
	relist()
	unchanged()
	m.stop()
	m = startManager(t, func(c *Config) { c.DataDir, c.DockerHost = m.config.DataDir, "unix://"+proxy.path })
	awaitList(time.Time{})
	unchanged()

	id := first.Status.Container.ID
	inspect := func(format string) string { return dockerCLI(t, "inspect", "-f", format, id) }
	t.Run("limits by hand", func(t *testing.T) {
		dockerCLI(t, "update", "--memory", "120m", "--memory-swap", "120m", "--cpus", "0.75", id)
		m.eventually("mended in place", func() bool {
			return inspect("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}") == "100000000 250000000"
		})
		unchanged()
	})
	t.Run("a name by hand", func(t *testing.T) {
		dockerCLI(t, "rename", id, "galaxy-renamed-"+m.installation())
		m.eventually("mended in place", func() bool { return inspect("{{.Name}}") == "/"+first.Status.Container.Name })
		unchanged()
	})
	t.Run("off its network by hand", func(t *testing.T) {
		require.NoError(t, m.Patch(context.Background(), m.read("everything"), paused(`"true"`)))
		dockerCLI(t, "network", "disconnect", "-f", inspect("{{.HostConfig.NetworkMode}}"), id)
		relist() // the engine has no event of the container for it
		g := m.await("everything", "a difference", func(g *v1alpha1.GameRuntime) bool { return len(g.Status.Drift) > 0 })
		require.Equal(t, "network", fields(g.Status.Drift))
		require.Equal(t, v1alpha1.DriftSpecMismatch, g.Status.Drift[0].Kind)
		m.report("one drifted game", func(s v1alpha1.DriftReportStatus) bool { return s.Drifted == 1 && len(s.Items) == 1 })
		require.NoError(t, m.Patch(context.Background(), m.read("everything"), paused("null")))
		g = m.await("everything", "a new container", func(g *v1alpha1.GameRuntime) bool {
			return isReady(g) && isInSync(g) && g.Status.Container.ID != id
		})
		require.Empty(t, g.Status.Drift)
	})
}
