package plan

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Adoption is a record that was made from a container without one.
type Adoption struct {
	Record *v1alpha1.GameRuntime
	// Differs names what of the container is not as the record has it: a new
	// container would be another one. If there is anything, the record observes
	// only, and it is for people to take the game over by setting Enforce.
	Differs []string
}

// Adopt makes a record from a container and the image that it runs: of what the
// image says anyway, nothing is repeated. The annotations take the place of the
// labels that the container lacks.
func Adopt(c *engine.Container, image engine.Image, settings Settings) Adoption {
	record := &v1alpha1.GameRuntime{ObjectMeta: metav1.ObjectMeta{Namespace: c.Game.Namespace, Name: c.Game.Name}}
	record.Spec = declare(c, image, settings)
	hash, differs := adoptedSpecHash(record, c, image, settings)
	differs = append(differs, c.Beyond...)
	if c.Name != ContainerName(c.Game, settings.Installation) {
		differs = append(differs, "container name")
	}
	if r := c.Resources; r != resources(record) || r.NanoCPUs <= 0 || r.MemoryBytes <= 0 || r.Pids <= 0 {
		differs = append(differs, "resources")
	}
	if c.State != engine.StateRunning {
		differs = append(differs, "it does not run") // and would be retired as one that was stopped
	}
	if len(differs) > 0 {
		record.Spec.DriftPolicy = v1alpha1.DriftObserve
	}
	record.Annotations = map[string]string{v1alpha1.AnnotationAdopted: c.ID, v1alpha1.AnnotationAdoptedSpec: hash}
	return Adoption{Record: record, Differs: differs}
}

// Adopted shows a container that its record was made from with the labels that
// one of our own making has.
func Adopted(record *v1alpha1.GameRuntime, view engine.View) engine.View {
	id := record.Annotations[v1alpha1.AnnotationAdopted]
	i := slices.IndexFunc(view.Containers, func(c engine.Container) bool { return c.ID == id })
	if i < 0 {
		return view
	}
	view.Containers = slices.Clone(view.Containers)
	view.Containers[i].UID, view.Containers[i].SpecHash = string(record.UID), record.Annotations[v1alpha1.AnnotationAdoptedSpec]
	return view
}

// stateElsewhere says that a game was adopted whose state is in another place
// than ours, and that nothing is in ours yet: a container of our own making
// would begin anew, and the state might go with the one that it replaces.
func stateElsewhere(in Input) bool {
	c := find(in.View, in.Record.Annotations[v1alpha1.AnnotationAdopted])
	if c == nil || in.StateExists {
		return false
	}
	differ, _ := compare(c.SpecHash, SpecHash(in.Record, in.Settings))
	return slices.Contains(differ, statePath)
}

var errAmbiguous = errors.New("the game has several containers: remove all but one")

// adoptable picks the container that a game without a record is made from: the
// one that runs, or the only one.
func adoptable(in Orphans) (*engine.Container, error) {
	if err := Nameable(in.Game); err != nil {
		return nil, err
	}
	var running, any []*engine.Container
	for i := range in.View.Containers {
		c := &in.View.Containers[i]
		if alive(c) {
			running = append(running, c)
		}
		any = append(any, c)
	}
	switch {
	case len(running) == 1:
		return running[0], nil
	case len(any) == 1:
		return any[0], nil
	}
	return nil, errAmbiguous
}

// adoption is what becomes of one container where orphans are adopted.
func adoption(in Orphans, c *engine.Container) Action {
	wait := Wait{Reason: v1alpha1.ReasonUnrecorded}
	chosen, err := adoptable(in)
	switch {
	case err != nil:
		wait.Message = "not adopted: " + err.Error()
	case chosen.ID != c.ID:
		wait.Message = "another container of the game is adopted"
	case !c.Inspected:
		wait.Message = "the engine has not told yet what it was made from"
	case in.Now.Before(in.NextTry):
		wait.Message, wait.Until = "not adopted: "+in.Refusal, in.NextTry
	default:
		return AdoptContainer{ID: c.ID}
	}
	return wait
}

// declare says in a record's words what a container was made from, as far as
// they go.
func declare(c *engine.Container, image engine.Image, settings Settings) v1alpha1.GameRuntimeSpec {
	made := c.Made
	spec := v1alpha1.GameRuntimeSpec{State: v1alpha1.StateStopped, Image: made.Image, DriftPolicy: v1alpha1.DriftEnforce}
	if alive(c) {
		spec.State = v1alpha1.StateRunning
	}
	if !versioned.MatchString(made.Image) {
		spec.Update.Policy = v1alpha1.UpdateAny
	}
	if !slices.Equal(made.Entrypoint, image.Entrypoint) {
		spec.Command = made.Entrypoint
	}
	if spec.Command != nil || !slices.Equal(made.Args, image.Args) {
		spec.Args = made.Args
	}
	if made.WorkingDir != image.WorkingDir {
		spec.WorkingDir = made.WorkingDir
	}
	if signal.MatchString(made.StopSignal) {
		spec.StopSignal = made.StopSignal
	}
	spec.Env = declareEnv(made.Env, image.Env)
	spec.Ports = declarePorts(made.Ports)
	spec.Resources = declareResources(c.Resources)
	spec.Storage.MountPath = cmp.Or(made.StateTarget, defaultMountPath)
	spec.SecurityContext = declareSecurity(made, image, settings)
	return spec
}

// What the API takes, where it is to be known beforehand: one value that it
// refuses would keep the whole record out.
var (
	versioned    = regexp.MustCompile(`:v?(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){2}(-[0-9A-Za-z-]+([.][0-9A-Za-z-]+)*)?(@.*)?$`)
	signal       = regexp.MustCompile(`^SIG[A-Z0-9+-]{1,12}$`)
	variable     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	capabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SYS_NICE"}
)

const (
	defaultMountPath = "/var/lib/galaxy-game"
	statePathName    = "GAME_STATE_PATH"
)

func declareEnv(made, image []string) []v1alpha1.EnvVar {
	var declared []v1alpha1.EnvVar
	for _, entry := range made {
		name, value, _ := strings.Cut(entry, "=")
		if !slices.Contains(image, entry) && name != statePathName && variable.MatchString(name) {
			declared = append(declared, v1alpha1.EnvVar{Name: name, Value: value})
		}
	}
	return declared
}

func declarePorts(made []engine.PortSpec) []v1alpha1.Port {
	var declared []v1alpha1.Port
	for i, p := range made {
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			continue
		}
		name := p.Protocol + "-" + strconv.Itoa(int(p.Port))
		if i > 0 && made[i-1].PortKey == p.PortKey {
			name += "-" + strconv.Itoa(i)
		}
		declared = append(declared, v1alpha1.Port{Name: name, ContainerPort: p.Port, Protocol: strings.ToUpper(p.Protocol), HostPort: p.HostPort})
	}
	return declared
}

// declareResources leaves out what is unlimited: no record can ask for that.
func declareResources(r engine.Resources) v1alpha1.Resources {
	var declared v1alpha1.Resources
	if r.Pids > 0 {
		declared.Pids = r.Pids
	}
	if r.NanoCPUs > 0 {
		declared.CPU = *resource.NewScaledQuantity(r.NanoCPUs, resource.Nano)
	}
	if r.MemoryBytes > 0 {
		declared.Memory = *resource.NewQuantity(r.MemoryBytes, resource.BinarySI)
	}
	return declared
}

func declareSecurity(made *engine.ContainerSpec, image engine.Image, settings Settings) v1alpha1.SecurityContext {
	declared := v1alpha1.SecurityContext{ReadOnlyRootFilesystem: ptr.To(made.ReadOnlyRoot)}
	for _, name := range made.AddCapabilities {
		if slices.Contains(capabilities, name) {
			declared.Capabilities.Add = append(declared.Capabilities.Add, name)
		}
	}
	if made.User == cmp.Or(settings.User, image.User) {
		return declared
	}
	name, group, _ := strings.Cut(made.User, ":")
	if uid, err := strconv.ParseInt(name, 10, 64); err == nil {
		declared.RunAsUser = &uid
		if gid, err := strconv.ParseInt(group, 10, 64); err == nil {
			declared.RunAsGroup = &gid
		}
	}
	return declared
}

// adoptedSpecHash is the SpecHash that a container would carry as its label, had
// it been made from a record: where it is what the engine would make of this
// one, it is the record's own.
func adoptedSpecHash(record *v1alpha1.GameRuntime, c *engine.Container, image engine.Image, settings Settings) (hash string, differs []string) {
	want := unlabelled(record, settings)
	effect := onImage(want, image)
	var text strings.Builder
	for _, f := range recreated {
		sum := digest(f.value(want))
		if !alike(f, effect, c) {
			sum = digest([]any{"not as declared", f.value(*c.Made)})
			if f.path != isolationPath { // what it has beyond is named one by one
				differs = append(differs, f.path)
			}
		}
		fmt.Fprintf(&text, "%s=%s;", f.path, sum)
	}
	fmt.Fprintf(&text, "%s=%s", restartedAtPath, digest(restartedAt(record)))
	return text.String(), differs
}

func alike(f field, effect engine.ContainerSpec, c *engine.Container) bool {
	switch f.path {
	case isolationPath:
		return len(c.Beyond) == 0
	case networkPath:
		return effect.Network == c.Made.Network && effect.Alias == c.Made.Alias
	default:
		return digest(f.value(effect)) == digest(f.value(*c.Made))
	}
}

// onImage is what an engine makes of a specification: the image's defaults where
// it is silent, and lists in the order in which they are shown.
func onImage(spec engine.ContainerSpec, image engine.Image) engine.ContainerSpec {
	if len(spec.Entrypoint) == 0 {
		spec.Entrypoint = image.Entrypoint
		if len(spec.Args) == 0 {
			spec.Args = image.Args
		}
	}
	spec.WorkingDir, spec.User = cmp.Or(spec.WorkingDir, image.WorkingDir), cmp.Or(spec.User, image.User)
	spec.StateTarget = path.Clean(spec.StateTarget)
	own := spec.Env
	for _, entry := range image.Env {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.ContainsFunc(own, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			spec.Env = append(spec.Env, entry)
		}
	}
	spec.AddCapabilities, spec.Ports = slices.Clone(spec.AddCapabilities), slices.Clone(spec.Ports)
	slices.Sort(spec.Env)
	slices.Sort(spec.AddCapabilities)
	slices.SortFunc(spec.Ports, engine.PortSpec.Compare)
	return spec
}
