package plan

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// rows is a drift in a few words: kind field desired actual.
func rows(drift []v1alpha1.Drift) []string {
	var all []string
	for _, d := range drift {
		all = append(all, strings.Join([]string{string(d.Kind), d.Field, d.Desired, d.Actual}, "|"))
	}
	return all
}

// made shows what a container was made from, with what an image adds.
func made(s *scene) func(*engine.Container) {
	spec := unlabelled(s.in.Record, s.in.Settings)
	spec.Env = append(spec.Env, "PATH=/bin")
	spec.Entrypoint = []string{"/game"}
	return func(c *engine.Container) { c.Made = &spec }
}

func TestDrift(t *testing.T) {
	withEnv := newScene().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Env = []v1alpha1.EnvVar{{Name: "TOKEN", Value: "secret"}} })
	stopped := func(s *v1alpha1.GameRuntimeSpec) { s.State = v1alpha1.StateStopped }
	running := func(changes ...func(*engine.Container)) *scene {
		s := newScene()
		return s.container("c1", engine.StateRunning, append([]func(*engine.Container){made(s)}, changes...)...)
	}
	for _, c := range []struct {
		name  string
		scene *scene
		want  []string
	}{
		{"in sync", running(), nil},
		{"what the image adds", withEnv.container("c1", engine.StateRunning, made(withEnv)), nil},
		{"never there", newScene(), []string{"StateMismatch|state|Running|no container"}},
		{"vanished", running().reported().gone(), []string{"ContainerMissing|state|Running|no container"}},
		{"exited", newScene().container("c1", engine.StateExited, exited(3, 0)), []string{"ContainerExited|state|Running|Crashed: exit code 3"}},
		{"should not run", running().spec(stopped), []string{"StateMismatch|state|Stopped|running"}},
		{"paused by hand", newScene().container("c1", engine.StatePaused), []string{"StateMismatch|state|Running|paused"}},
		{"image", running().spec(anotherImage), []string{"SpecMismatch|image|galaxy/chess:1.0.1|galaxy/chess:1.0.0"}},
		{"ports", running().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Ports[0].HostPort = ptr.To[int32](9000) }), []string{"SpecMismatch|ports|9000:8080/tcp|0:8080/tcp"}},
		{"limits", running().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Resources.CPU = resource.MustParse("250m") }), []string{"SpecMismatch|resources.cpu|250m|1000m"}},
		{"restartedAt", running().spec(func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = &metav1.Time{Time: now} }), []string{"SpecMismatch|restartedAt|2026-05-04T12:00:00Z|"}},
		{"a namesake's", running(func(c *engine.Container) { c.UID = "u-0" }), []string{"SpecMismatch|uid|u-1|u-0"}},
		{"renamed by hand", running(func(c *engine.Container) { c.Name = "mine" }), []string{"SpecMismatch|container name|chess.default.01234567|mine"}},
		{"taken off its network", running(func(c *engine.Container) { c.Made.Network = "" }), []string{"SpecMismatch|network|galaxy.01234567|disconnected"}},
		{"restarted by the engine", running(func(c *engine.Container) { c.SelfRestarts = true }), []string{"SpecMismatch|restart policy of the engine|no|set"}},
		{"a second one", running().container("c2", engine.StateExited, exited(0, 0)), []string{"DuplicateContainer|container chess.default.01234567||exited"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status := Status(c.scene.in, For(c.scene.in))
			require.Equal(t, c.want, rows(status.Drift))
			for _, d := range status.Drift {
				require.NotEmpty(t, d.Action)
				require.Equal(t, *metaTime(now), d.FirstSeen)
			}
			checkStatus(t, c.scene.in)
		})
	}
}

func TestDriftOfVariablesTellsNoValue(t *testing.T) {
	s := newScene().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Env = []v1alpha1.EnvVar{{Name: "TOKEN", Value: "secret"}} })
	s.container("c1", engine.StateRunning, made(s)).spec(func(s *v1alpha1.GameRuntimeSpec) { s.Env[0].Value = "another secret" })
	found := Status(s.in, For(s.in)).Drift
	require.Len(t, found, 1)
	require.Contains(t, found[0].Desired, "TOKEN=(")
	require.Contains(t, found[0].Actual, "TOKEN=(")
	require.NotEqual(t, found[0].Desired, found[0].Actual)
	require.NotContains(t, found[0].Desired+found[0].Actual, "secret")
}

func TestDriftHasAnOnset(t *testing.T) {
	s := newScene()
	s.container("c1", engine.StateRunning, made(s)).spec(observed).spec(anotherImage).reported().later(time.Hour).reported()
	require.Equal(t, *metaTime(now), s.in.Record.Status.Drift[0].FirstSeen)
	away(s).later(time.Hour).reported()
	require.Len(t, s.in.Record.Status.Drift, 1, "what cannot be seen is told as it was")
}

func TestMovedImageIsToldAndLeft(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning)
	s.in.ImageNow = "sha256:1"
	require.Empty(t, Status(s.in, For(s.in)).Drift)
	s.in.ImageNow = "sha256:2"
	require.True(t, For(s.in).InSync())
	require.Equal(t, []string{"ImageMoved|image|sha256:2|sha256:1"}, rows(Status(s.in, For(s.in)).Drift))
	checkStatus(t, s.in)
}

// TestEveryPartOfAContainerHasARow: what a container is made from is compared
// field by field, and nothing is left out.
func TestEveryPartOfAContainerHasARow(t *testing.T) {
	elsewhere := map[string]string{
		"Name": "it is changed in place", "Resources": "they are changed in place", "Labels": "they hold the comparison",
		"StopSignal": "we send it ourselves", "Alias": "it follows from the record's name",
	}
	fields := reflect.TypeFor[engine.ContainerSpec]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if elsewhere[name] != "" {
			continue
		}
		one := reflect.New(fields).Elem()
		fill(one.Field(i))
		differs := false
		for _, f := range recreated {
			differs = differs || digest(f.value(one.Interface().(engine.ContainerSpec))) != digest(f.value(engine.ContainerSpec{}))
		}
		require.True(t, differs, "a change of %s is not noticed", name)
	}
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	default:
		panic("a container specification holds no " + v.Kind().String())
	}
}

// What was stopped because it is off its network is not started again: it would
// be off it still.
func TestDisconnectedIsReplacedOnceItIsStopped(t *testing.T) {
	off := func(c *engine.Container) { c.Made = &engine.ContainerSpec{} }
	s := newScene().container("c1", engine.StateExited, exited(0, 0), off)
	require.Contains(t, verbs(For(s.in)), "CreateContainer")
	require.NotEqual(t, "StartContainer", verbs(For(s.in)))
}
