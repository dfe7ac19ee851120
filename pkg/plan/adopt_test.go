package plan

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

var chessImage = engine.Image{
	ID: "sha256:1", User: "1000:1000", Entrypoint: []string{"/chess"}, Args: []string{"serve"},
	Env: []string{"LANG=C", "PATH=/bin"}, WorkingDir: "/",
}

// unrecorded is the container that an engine makes of a record, when the record
// is gone.
func unrecorded(record *v1alpha1.GameRuntime, settings Settings) *engine.Container {
	made := onImage(unlabelled(record, settings), chessImage)
	made.Labels = nil
	return &engine.Container{
		ID: "c1", Name: made.Name, Installation: settings.Installation, Game: GameOf(record), State: engine.StateRunning,
		Image: made.Image, ImageID: chessImage.ID, StartedAt: now, Resources: made.Resources, Made: &made, Inspected: true,
	}
}

// stored is an adopted record as the API would keep it, and its container as the
// plan sees it.
func stored(a Adoption, c *engine.Container) *scene {
	s := newScene()
	defaults := s.in.Record.Spec
	record := a.Record.DeepCopy()
	record.UID, record.Generation = "u-2", 1
	record.Spec.RestartPolicy, record.Spec.Backoff, record.Spec.ImagePullPolicy = defaults.RestartPolicy, defaults.Backoff, defaults.ImagePullPolicy
	s.in.Record = record
	s.in.View = Adopted(record, engine.View{Seen: true, Containers: []engine.Container{*c}})
	return s
}

// Whatever a record says: the one that is made from its container says the same,
// so far as containers go, and finds it in sync.
func TestWhatWeMadeIsAdoptedAsItIs(t *testing.T) {
	changes := map[string]func(*v1alpha1.GameRuntimeSpec){
		"as it is": func(*v1alpha1.GameRuntimeSpec) {},
		"much": func(s *v1alpha1.GameRuntimeSpec) {
			s.Command, s.Args, s.WorkingDir = []string{"/other"}, []string{"-a", "b"}, "/tmp"
			s.Env = []v1alpha1.EnvVar{{Name: "Z", Value: "=1"}, {Name: "A"}, {Name: "LANG", Value: "de"}}
			s.SecurityContext = v1alpha1.SecurityContext{
				RunAsUser: ptr.To[int64](7), RunAsGroup: ptr.To[int64](8), ReadOnlyRootFilesystem: ptr.To(false),
				Capabilities: v1alpha1.Capabilities{Add: []string{"SETUID", "CHOWN"}},
			}
			s.Ports = []v1alpha1.Port{
				{Name: "b", ContainerPort: 9000, Protocol: "UDP", HostPort: ptr.To[int32](31000)}, {Name: "a", ContainerPort: 9000, Protocol: "TCP"},
				{Name: "c", ContainerPort: 80, Protocol: "TCP", HostPort: ptr.To[int32](0)}, {Name: "d", ContainerPort: 80, Protocol: "TCP", HostPort: ptr.To[int32](81)},
			}
			s.StopSignal = "SIGRTMIN+3"
		},
	}
	for name, effect := range fieldEffects {
		changes[name] = effect.change
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s := newScene().spec(change).spec(func(spec *v1alpha1.GameRuntimeSpec) { spec.State = v1alpha1.StateRunning })
			c := unrecorded(s.in.Record, s.in.Settings)
			a := Adopt(c, chessImage, s.in.Settings)
			require.Empty(t, a.Differs)
			require.Equal(t, v1alpha1.DriftEnforce, a.Record.Spec.DriftPolicy)
			require.Empty(t, For(stored(a, c).in).Actions)
			made := unlabelled(a.Record, s.in.Settings)
			require.Equal(t, *c.Made, onImage(made, chessImage))
		})
	}
}

func TestWhatDiffersIsObserved(t *testing.T) {
	cases := map[string]func(*engine.Container){
		"container name":  func(c *engine.Container) { c.Name = "chess" },
		"network":         func(c *engine.Container) { c.Made.Network = "bridge" },
		"state directory": func(c *engine.Container) { c.Made.StateSource = "/srv/chess" },
		"command":         func(c *engine.Container) { c.Made.Entrypoint = nil },
		"env":             func(c *engine.Container) { c.Made.Env = []string{"NO STATE PATH"} },
		"ports": func(c *engine.Container) {
			c.Made.Ports = []engine.PortSpec{{PortKey: engine.PortKey{Port: 1, Protocol: "sctp"}}}
		},
		"resources":                        func(c *engine.Container) { c.Resources.MemoryBytes = 0 },
		"securityContext.runAsUser":        func(c *engine.Container) { c.Made.User = "chess" },
		"securityContext.capabilities.add": func(c *engine.Container) { c.Made.AddCapabilities = []string{"SYS_ADMIN"} },
		"privileged":                       func(c *engine.Container) { c.Beyond = []string{"privileged"} },
		"it does not run":                  func(c *engine.Container) { c.State = engine.StateExited },
	}
	for want, change := range cases {
		t.Run(want, func(t *testing.T) {
			s := newScene()
			c := unrecorded(s.in.Record, s.in.Settings)
			change(c)
			a := Adopt(c, chessImage, s.in.Settings)
			require.Contains(t, a.Differs, want)
			require.Equal(t, v1alpha1.DriftObserve, a.Record.Spec.DriftPolicy)
			if next := For(stored(a, c).in).Next(); next != nil {
				require.Equal(t, v1alpha1.ReasonObserved, next.(Wait).Reason)
			}
		})
	}
}

// Who reviewed a difference sets Enforce: then the game gets a container of our
// own making. So it does when the record changes.
func TestAdoptedGameIsTakenOver(t *testing.T) {
	s := newScene()
	c := unrecorded(s.in.Record, s.in.Settings)
	c.Beyond = []string{"privileged"}
	taken := stored(Adopt(c, chessImage, s.in.Settings), c)
	p := For(taken.in)
	status := Status(taken.in, p)
	require.Len(t, status.Drift, 1)
	require.Equal(t, "isolation", status.Drift[0].Field)
	require.Equal(t, "privileged", status.Drift[0].Actual)
	taken.spec(func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftEnforce })
	require.Contains(t, verbs(For(taken.in)), "StopContainer")

	c.Beyond = nil
	changed := stored(Adopt(c, chessImage, s.in.Settings), c)
	require.Empty(t, For(changed.in).Actions)
	changed.spec(func(s *v1alpha1.GameRuntimeSpec) { s.Image = "galaxy/chess:1.0.1" })
	require.Contains(t, verbs(For(changed.in)), "StopContainer")
	delete(changed.in.Record.Annotations, v1alpha1.AnnotationAdopted)
	require.Equal(t, "c1", Adopted(changed.in.Record, engine.View{Containers: []engine.Container{*c}}).Containers[0].ID)
}

func TestOrphansAreAdopted(t *testing.T) {
	running, exited, second := orphan("c1", engine.StateRunning), orphan("c2", engine.StateExited), orphan("c3", engine.StateRunning)
	next := func(in Orphans) string { return ForOrphans(in).Next().String() }
	require.Equal(t, "adopt container c1", next(orphaned(OrphansAdopt, running)))
	require.Equal(t, "adopt container c2", next(orphaned(OrphansAdopt, exited)))
	require.Equal(t, "adopt container c1", next(orphaned(OrphansAdopt, exited, running)), "the one that runs")
	require.Contains(t, next(orphaned(OrphansAdopt, running, second)), "several containers")

	nameless := orphaned(OrphansAdopt, running)
	nameless.Game.Name = "Not_A_Label"
	require.Contains(t, next(nameless), v1alpha1.LabelGame)

	untold := running
	untold.Inspected = false
	require.Contains(t, next(orphaned(OrphansAdopt, untold)), "has not told")

	refused := orphaned(OrphansAdopt, running)
	refused.Refusal, refused.NextTry = "no such namespace", now.Add(1)
	require.Contains(t, next(refused), "not adopted: no such namespace")
	refused.Now = refused.NextTry
	require.Equal(t, "adopt container c1", next(refused))
}

// What adoption must know of the API before it asks is what the API says.
func TestAdoptionKnowsTheAPI(t *testing.T) {
	crd, err := os.ReadFile("../../config/crd/bases/runtime.galaxy.io_gameruntimes.yaml")
	require.NoError(t, err)
	oneLine := strings.Join(strings.Fields(string(crd)), " ")
	for _, said := range []string{
		"default: " + defaultMountPath, "pattern: " + signal.String(), "pattern: " + variable.String(),
		"enum: - " + strings.Join(capabilities, " - ") + " type", versioned.String(),
	} {
		require.Contains(t, oneLine, said)
	}
}
