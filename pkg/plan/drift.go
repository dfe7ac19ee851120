package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// What mends a drift.
const (
	mendRecreate = "recreate the container"
	mendUpdate   = "update the container in place"
	mendStart    = "start the container"
	mendStop     = "stop the container"
	mendCreate   = "create the container"
	mendRemove   = "remove the container"
	mendNothing  = "none before the next create; a new restartedAt takes it now"
)

// drift tells a plan in the words of a report: what differs, and since when. What
// cannot be seen now is told as it was.
func drift(in Input, p Plan) []v1alpha1.Drift {
	if engineAway(in) != nil {
		return in.Record.Status.Drift
	}
	var found []v1alpha1.Drift
	if !p.InSync() {
		found = differences(in)
	}
	c, _ := choose(in)
	if c != nil && in.ImageNow != "" && c.ImageID != "" && in.ImageNow != c.ImageID && c.Image == in.Record.Spec.Image {
		found = append(found, v1alpha1.Drift{
			Kind: v1alpha1.DriftImageMoved, Field: "image", Desired: in.ImageNow, Actual: c.ImageID, Action: mendNothing,
		})
	}
	for i := range found {
		found[i].FirstSeen = firstSeen(in, found[i])
	}
	return found
}

func firstSeen(in Input, d v1alpha1.Drift) metav1.Time {
	for _, known := range in.Record.Status.Drift {
		if known.Kind == d.Kind && known.Field == d.Field {
			return known.FirstSeen
		}
	}
	return *metaTime(in.Now)
}

func differences(in Input) []v1alpha1.Drift {
	current, surplus := choose(in)
	found := stateDrift(in, current)
	if current != nil && in.Record.DeletionTimestamp.IsZero() && in.Record.Spec.State == v1alpha1.StateRunning {
		found = append(found, specDrift(in, current)...)
	}
	for _, c := range surplus {
		found = append(found, v1alpha1.Drift{
			Kind: v1alpha1.DriftDuplicateContainer, Field: "container " + c.Name, Actual: string(c.State), Action: mendRemove,
		})
	}
	return found
}

// stateDrift compares what should run with what does.
func stateDrift(in Input, c *engine.Container) []v1alpha1.Drift {
	wanted := in.Record.Spec.State == v1alpha1.StateRunning && in.Record.DeletionTimestamp.IsZero()
	switch {
	case wanted:
		return notRunning(in, c)
	case c != nil && alive(c):
		return []v1alpha1.Drift{{
			Kind: v1alpha1.DriftStateMismatch, Field: "state", Desired: string(v1alpha1.StateStopped), Actual: string(c.State), Action: mendStop,
		}}
	}
	return nil
}

func notRunning(in Input, c *engine.Container) []v1alpha1.Drift {
	d := v1alpha1.Drift{Kind: v1alpha1.DriftStateMismatch, Field: "state", Desired: string(v1alpha1.StateRunning), Action: mendStart}
	switch {
	case c == nil:
		d.Actual, d.Action = "no container", mendCreate
		if in.Record.Status.Container != nil {
			d.Kind = v1alpha1.DriftContainerMissing
		}
	case c.State == engine.StateRunning:
		return nil
	case c.State == engine.StateExited:
		d.Kind, d.Actual = v1alpha1.DriftContainerExited, string(c.State)
		if end := lastTermination(in); end != nil && end.ContainerID == c.ID {
			d.Actual = fmt.Sprintf("%s: %s", end.Reason, end.Message)
		}
	default:
		d.Actual = string(c.State)
	}
	return []v1alpha1.Drift{d}
}

// specDrift compares, field by field, what a container was made from with what
// the record asks for.
func specDrift(in Input, c *engine.Container) []v1alpha1.Drift {
	want := unlabelled(in.Record, in.Settings)
	var found []v1alpha1.Drift
	differ := func(path, desired, actual, mend string) {
		found = append(found, v1alpha1.Drift{
			Kind: v1alpha1.DriftSpecMismatch, Field: path, Desired: cut(desired), Actual: cut(actual), Action: mend,
		})
	}
	paths, comparable := compare(c.SpecHash, SpecHash(in.Record, in.Settings))
	if c.UID != string(in.Record.UID) || !comparable {
		differ("uid", string(in.Record.UID), c.UID, mendRecreate)
	}
	if slices.Contains(paths, restartedAtPath) {
		differ(restartedAtPath, restartedAt(in.Record), "", mendRecreate)
	}
	for _, f := range recreated {
		if slices.Contains(paths, f.path) {
			desired, actual := f.tell(want, c)
			differ(f.path, desired, actual, mendRecreate)
		}
	}
	if c.Inspected {
		resourceDrift(want.Resources, c.Resources, differ)
	}
	if disconnected(c) && !slices.Contains(paths, "network") {
		differ("network", want.Network, "disconnected", mendRecreate)
	}
	if c.SelfRestarts {
		differ("restart policy of the engine", "no", "set", mendUpdate)
	}
	if c.Name != want.Name && !isKept(in, c) {
		differ("container name", want.Name, c.Name, mendUpdate)
	}
	return found
}

// tell says what a field should hold and what it does, as far as people may know.
func (f field) tell(want engine.ContainerSpec, c *engine.Container) (desired, actual string) {
	switch {
	case f.path == isolationPath:
		return "", strings.Join(c.Beyond, ", ")
	case f.private:
		return "", ""
	case c.Made == nil:
		return show(f.value(want)), ""
	case f.path == "env":
		return variables(want.Env, c.Made.Env), variables(c.Made.Env, want.Env)
	default:
		return show(f.value(want)), show(f.value(*c.Made))
	}
}

func resourceDrift(want, have engine.Resources, differ func(path, desired, actual, mend string)) {
	for _, r := range []struct {
		path       string
		want, have int64
		unit       string
	}{
		{"resources.cpu", want.NanoCPUs / 1_000_000, have.NanoCPUs / 1_000_000, "m"},
		{"resources.memory", want.MemoryBytes, have.MemoryBytes, ""},
		{"resources.pids", want.Pids, have.Pids, ""},
	} {
		if r.want != r.have {
			differ(r.path, strconv.FormatInt(r.want, 10)+r.unit, strconv.FormatInt(r.have, 10)+r.unit, mendUpdate)
		}
	}
}

// variables names those that others lack or say otherwise. A value may be a
// secret: it is told apart, not told.
func variables(env, others []string) string {
	var all []string
	for _, variable := range env {
		if !slices.Contains(others, variable) {
			name, value, _ := strings.Cut(variable, "=")
			all = append(all, name+"=("+digest(value)[:6]+")")
		}
	}
	return strings.Join(all, " ")
}

// show tells a value of a container specification to people.
func show(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case []string:
		return strings.Join(value, " ")
	case []engine.PortSpec:
		var all []string
		for _, p := range value {
			text := strconv.Itoa(int(p.Port)) + "/" + p.Protocol
			if p.HostPort != nil {
				text = strconv.Itoa(int(*p.HostPort)) + ":" + text
			}
			all = append(all, text)
		}
		return strings.Join(all, " ")
	default:
		return fmt.Sprint(value)
	}
}

// cut bounds what a report holds of one value.
func cut(text string) string {
	const limit = 256
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "…"
}
