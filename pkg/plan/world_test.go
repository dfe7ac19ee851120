package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// world is a model of all that surrounds the decision: the engine, the state
// directory, the view that lags behind, and the loop that carries plans out.
// Until it is calm, whatever it does may fail, get lost, come late or twice.
type world struct {
	t *rapid.T
	// in is what the next decision rests on.
	in Input
	// containers are what the engine has, ours and others', oldest first.
	containers []engine.Container
	images     map[string]bool
	pulled     string
	stateDir   bool
	// probe is the one that the record declares, "" for none.
	probe   string
	verdict string
	since   time.Time
	brake   *Brake
	// stopped are the runs that we ended, and crashed those that ended by
	// themselves, by container and end.
	stopped, crashed map[string]bool
	deeds            deeds
	operations       int
	// late are actions whose effect is still to come.
	late     []Action
	trouble  string
	calm     bool
	released bool
	// next is what the last pass left to do, again when to look if nothing is.
	next  Action
	again time.Time
}

// Troubles that no retry mends.
const (
	noTrouble       = ""
	engineLost      = "the engine stays away"
	registryRefuses = "the registry refuses"
	nameTaken       = "somebody else's container has the name"
	portTaken       = "the host port is in use"
)

// Ways in which an action goes.
const (
	well     = "well"
	declined = "refused"
	lost     = "done, its answer lost"
	twice    = "done twice"
	late     = "done late"
)

func pick[T any](w *world, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(w.t, label)
}

// fate is how something goes: well, once the world is calm.
func (w *world) fate(label string, others ...string) string {
	if w.calm {
		return well
	}
	return pick(w, label, append([]string{well, well}, others...)...)
}

func (w *world) ours(c *engine.Container) bool {
	return c.Installation == w.in.Settings.Installation
}

func (w *world) find(id string) *engine.Container {
	for i := range w.containers {
		if w.containers[i].ID == id || w.containers[i].Name == id {
			return &w.containers[i]
		}
	}
	return nil
}

func (w *world) drop(id string) {
	w.containers = slices.DeleteFunc(w.containers, func(c engine.Container) bool { return c.ID == id })
}

// alive lists our containers that run.
func (w *world) alive() []*engine.Container {
	var all []*engine.Container
	for i := range w.containers {
		if c := &w.containers[i]; w.ours(c) && alive(c) {
			all = append(all, c)
		}
	}
	return all
}

// count is how many containers of ours there are to stay.
func (w *world) count() int {
	var n int
	for _, c := range w.containers {
		if w.ours(&c) && c.State != engine.StateRemoving {
			n++
		}
	}
	return n
}

// pass is the controller's: at most one action, then one report.
func (w *world) pass() {
	last := w.finish()
	w.observe(last)
	p := w.decide()
	if _, ended := Ended(w.in); last == nil && !ended && w.act(p.Next()) {
		p = w.decide()
	}
	w.next, w.again = p.Next(), p.Again
	record := w.in.Record
	if !record.DeletionTimestamp.IsZero() && p.InSync() {
		w.release()
		return
	}
	status := Status(w.in, p)
	w.checkTransition(record.Status.Container, status.Container)
	w.checkCause(status.LastTermination)
	if w.fate("report", lost) == well {
		w.checkDeeds(record.Status, status)
		record.Status = status
		w.settleIntents()
	}
	w.in.Last = nil
}

// finish ends the work in hand, some time.
func (w *world) finish() *Outcome {
	work := w.in.InHand
	if work == nil || w.fate("work in hand", "goes on") != well {
		return nil
	}
	w.in.InHand = nil
	return w.carryOut(work.Action, work.Operation)
}

// act does the next action. Slow ones go on beside the passes.
func (w *world) act(next Action) bool {
	switch next.(type) {
	case nil, Wait:
		return false
	case PullImage, StopContainer:
		w.checkProbeStop(next)
		w.in.InHand = &Work{Action: next, Operation: w.intend(next), Since: w.in.Now, Deadline: w.in.Now.Add(time.Minute)}
		w.observe(nil)
	default:
		w.observe(w.carryOut(next, w.intend(next)))
	}
	return true
}

// intend writes down what is about to be done; it outlives the manager.
func (w *world) intend(a Action) string {
	intent := IntentTo(a, w.in.View)
	if intent == nil {
		return ""
	}
	w.operations++
	intent.ID, intent.At, intent.Deadline = fmt.Sprint("o-", w.operations), w.in.Now, w.in.Now.Add(time.Hour)
	w.in.Intents = append(w.in.Intents, *intent)
	return intent.ID
}

func (w *world) carryOut(a Action, operation string) *Outcome {
	err := w.try(a)
	for i, intent := range w.in.Intents {
		if intent.ID == operation {
			w.in.Intents[i] = intent.Finished(err, w.in.Settings)
		}
	}
	return &Outcome{Action: a, Operation: operation, Err: err}
}

func (w *world) observe(last *Outcome) {
	w.in.Now = w.in.Now.Add(time.Millisecond)
	if len(w.late) > 0 && w.fate("late effect", late) == well {
		if start, ok := w.late[0].(StartContainer); ok {
			w.deeds.started[start.ID] = true // another start of ours may have had its run since, and this one is forgotten
		}
		_ = w.do(w.late[0])
		w.late = w.late[1:]
	}
	if w.in.Fleet.Reachable || w.in.Fleet.Since.IsZero() {
		w.look()
	}
	w.in.Brake = nil
	if Vanished(w.in.Record, w.in.View) {
		w.in.Brake = w.brake
	}
	spec := &w.in.Record.Spec
	w.in.Last = last
	w.in.Image = Image{Present: w.images[spec.Image], Pulled: w.pulled == spec.Image}
	w.in.StateExists = w.stateDir && !w.in.Record.DeletionTimestamp.IsZero()
	w.in.Health = nil
	if c, _ := choose(w.in); w.probe != "" && c != nil && c.State == engine.StateRunning && c.Inspected {
		w.in.Health = []v1alpha1.ProbeStatus{{Probe: w.probe, Verdict: w.verdict, Message: "status 500", Since: &metav1.MicroTime{Time: w.since}}}
	}
}

// look brings the view up to date: in full, not at all, or as a list would.
// It never goes back in time.
func (w *world) look() {
	const stale, listed = "stale", "listed"
	how := w.fate("view", stale, listed)
	if how == stale {
		return
	}
	w.reach()
	w.in.View = engine.View{Seen: true, At: w.in.Now}
	for _, c := range w.containers {
		if !w.ours(&c) {
			continue
		}
		if how == listed {
			c.Inspected, c.StartedAt, c.Exit, c.Resources = false, time.Time{}, nil, engine.Resources{}
		}
		w.in.View.Containers = append(w.in.View.Containers, c)
	}
}

func (w *world) reach() {
	w.in.Fleet = engine.Fleet{Reachable: true, Since: now, Info: engine.Info{ID: "e-1", Name: "host"}}
}

// try does an action as well or as badly as the world is.
func (w *world) try(a Action) error {
	if _, create := a.(CreateContainer); create {
		w.stateDir = true
	}
	timeout := &engine.Error{Op: a.String(), Kind: engine.Timeout, Err: errors.New("no answer")}
	fate := w.fate("action", declined, lost, twice, late)
	if _, local := a.(RemoveState); local && fate == late {
		fate = declined
	}
	if stop, ok := a.(StopContainer); ok && (fate == well || fate == lost || fate == twice) {
		w.noteStop(stop.ID)
	}
	switch fate {
	case declined:
		kind := pick(w, "kind", engine.Failed, engine.Timeout, engine.Unreachable, engine.StartFailed, engine.MountFailed)
		return &engine.Error{Op: a.String(), Kind: kind, Err: errors.New("refused in " + w.in.Settings.StateRoot)}
	case lost:
		_ = w.do(a)
		return timeout
	case twice:
		_ = w.do(a)
	case late:
		w.late = append(w.late, a)
		return timeout
	}
	return w.do(a)
}

// do is the engine: idempotent in its outcome, one holder to a name.
func (w *world) do(a Action) error {
	fail := func(kind engine.Kind) error {
		return &engine.Error{Op: a.String(), Kind: kind, Err: errors.New("it is so")}
	}
	switch a := a.(type) {
	case PullImage:
		if w.trouble == registryRefuses {
			return fail(engine.PullFailed)
		}
		w.images[a.Ref], w.pulled = true, a.Ref
	case CreateContainer:
		return w.create(a.Spec, fail)
	case StartContainer:
		return w.start(w.target(a.ID), fail)
	case StopContainer:
		if c := w.target(a.ID); c != nil && alive(c) {
			w.end(c, engine.Exit{Code: 143})
		}
	case RenameContainer:
		return w.rename(w.target(a.ID), a.Name, fail)
	case RemoveContainer:
		if c := w.target(a.ID); c != nil && c.State != engine.StateRemoving {
			c.State = engine.StateRemoving
			if w.fate("removal", "takes its time") == well {
				w.drop(a.ID)
			}
		}
	case UpdateResources:
		c := w.target(a.ID)
		if c == nil {
			return fail(engine.NotFound)
		}
		c.Resources, c.SelfRestarts = a.Resources, false
	case RemoveState:
		w.checkStateRemoval(a)
		w.stateDir = false
	}
	return nil
}

func (w *world) create(spec engine.ContainerSpec, fail func(engine.Kind) error) error {
	if holder := w.find(spec.Name); holder != nil {
		if !w.ours(holder) {
			return fail(engine.NameConflict)
		}
		return nil // an earlier call of ours made it
	}
	if !w.images[spec.Image] {
		return fail(engine.NotFound)
	}
	w.pulled = ""
	w.containers = append(w.containers, engine.Container{
		ID: fmt.Sprintf("made at %d", w.in.Now.UnixMilli()), Name: spec.Name, Inspected: true,
		Installation: spec.Labels[v1alpha1.LabelInstallation], Game: GameOf(w.in.Record),
		UID: spec.Labels[v1alpha1.LabelUID], SpecHash: spec.Labels[v1alpha1.LabelSpecHash],
		State: engine.StateCreated, Image: spec.Image, CreatedAt: w.in.Now, Resources: spec.Resources,
	})
	return nil
}

func (w *world) start(c *engine.Container, fail func(engine.Kind) error) error {
	switch {
	case c == nil:
		return fail(engine.NotFound)
	case c.State == engine.StateRunning:
		return nil
	case c.State != engine.StateCreated && c.State != engine.StateExited:
		return fail(engine.Failed)
	case w.trouble == portTaken:
		exit := engine.Exit{Code: 128}
		if c.Exit != nil {
			exit = *c.Exit
		}
		exit.Error, exit.StartKind = "port is already allocated", engine.PortConflict
		c.Exit = &exit
		return fail(engine.PortConflict)
	}
	require.Empty(w.t, w.alive(), "a container is started while another one of the game runs")
	c.State, c.StartedAt, c.Exit = engine.StateRunning, w.in.Now, nil
	w.judge(pick(w, "verdict", w.well()...))
	return nil
}

func (w *world) rename(c *engine.Container, name string, fail func(engine.Kind) error) error {
	holder := w.find(name)
	switch {
	case c == nil:
		return fail(engine.NotFound)
	case holder != nil && holder.ID != c.ID:
		return fail(engine.NameConflict)
	}
	c.Name = name
	return nil
}

// end ends a run.
func (w *world) end(c *engine.Container, exit engine.Exit) {
	exit.FinishedAt = w.in.Now
	c.State, c.Exit = engine.StateExited, &exit
}

// target is the container that an action names, nil if it is gone.
func (w *world) target(id string) *engine.Container {
	require.NotEmpty(w.t, id, "an action names no container")
	c := w.find(id)
	if c != nil {
		require.Equal(w.t, id, c.ID, "an action names its container by something else than its id")
		require.True(w.t, w.ours(c), "an action touches a container that is not ours")
	}
	return c
}

// disturb lets something happen that nobody planned.
func (w *world) disturb() {
	w.in.Now = w.in.Now.Add(time.Millisecond)
	var subject *engine.Container
	if all := w.in.View.Containers; len(all) > 0 {
		subject = w.find(pick(w, "which", all...).ID)
	}
	switch what := pick(w, "what", "crash", "vanish", "pause", "start", "probe", "away", "back", "manager", "rename", "restart policy", "hang", "brake", "healthcheck"); what {
	case "probe":
		w.judge(pick(w, "verdict", failing, failing, unknown, succeeding))
	case "away":
		w.in.Fleet = engine.Fleet{Reason: "connection refused", Since: w.in.Now}
	case "back":
		if w.in.View.Seen {
			w.reach()
		}
	case "manager":
		w.restartManager()
	case "brake":
		w.brake = pick(w, "brake", nil, &Brake{Since: w.in.Now, Message: "3 of 4 games vanished together"})
	default:
		if subject != nil {
			w.handle(subject, what)
		}
	}
}

// handle is what a game does by itself, and people by hand.
func (w *world) handle(c *engine.Container, what string) {
	switch {
	case what == "vanish":
		w.noteVanished(c)
		w.drop(c.ID)
	case what == "rename":
		c.Name = "renamed by hand"
	case what == "restart policy":
		c.SelfRestarts = true
	case what == "healthcheck":
		c.Health = pick(w, "healthcheck", nil, &engine.Health{State: engine.HealthStarting}, &engine.Health{State: engine.HealthHealthy},
			&engine.Health{State: engine.HealthUnhealthy, Output: "exit code 1"})
	case what == "hang":
		c.Unresponsive = !c.Unresponsive
	case what == "crash" && alive(c):
		w.crashed[endOf(c.ID, w.in.Now)] = true
		w.end(c, engine.Exit{Code: pick(w, "code", int32(0), 1, 137, 255), OOMKilled: rapid.Bool().Draw(w.t, "oom")})
	case what == "pause" && c.State == engine.StateRunning:
		c.State = engine.StatePaused
	case what == "start" && c.State == engine.StateExited && w.count() == 1: // of two, a person may start the one while we start the other
		c.State, c.StartedAt, c.Exit = engine.StateRunning, w.in.Now, nil
		w.deeds.started[c.ID] = true
	}
}

// restartManager forgets all that is only in memory. The engine finishes what
// it was asked to do, or not.
func (w *world) restartManager() {
	if work := w.in.InHand; work != nil && w.fate("abandoned work", declined) == well {
		w.late = append(w.late, work.Action)
	}
	w.in.InHand, w.pulled = nil, ""
	w.judge(unknown)
	w.in.Fleet, w.in.View = engine.Fleet{}, engine.View{}
}

// edit is what people write into the record.
func (w *world) edit() {
	record := w.in.Record
	record.Generation++
	w.deeds.byProbes = 0
	spec := &record.Spec
	switch pick(w, "field", "state", "image", "memory", "restartPolicy", "pullPolicy", "reclaimPolicy", "onUnhealthy", "retention", "retry", "deletion", "probes") {
	case "probes":
		spec.Probes.RestartAfterSeconds = pick(w, "restart after", int32(0), 2)
		spec.Probes.MaxRestarts = pick(w, "max restarts", nil, ptr.To[int32](0), ptr.To[int32](2))
	case "onUnhealthy":
		spec.Update.OnUnhealthy = pick(w, "unhealthy", v1alpha1.UnhealthyKeep, v1alpha1.UnhealthyRollback)
	case "retention":
		spec.RetainStoppedFor = pick(w, "retain", nil, &metav1.Duration{Duration: time.Second})
	case "retry":
		record.Annotations = map[string]string{v1alpha1.AnnotationRetry: w.in.Now.String()}
	case "state":
		spec.State = pick(w, "state", v1alpha1.StateRunning, v1alpha1.StateStopped)
	case "image":
		spec.Image = pick(w, "image", "galaxy/chess:1.0.0", "galaxy/chess:1.0.1")
	case "memory":
		spec.Resources.Pids = pick(w, "pids", int64(512), 256)
	case "restartPolicy":
		spec.RestartPolicy = pick(w, "restart", v1alpha1.RestartAlways, v1alpha1.RestartOnFailure, v1alpha1.RestartNever)
	case "pullPolicy":
		spec.ImagePullPolicy = pick(w, "pull", v1alpha1.PullIfNotPresent, v1alpha1.PullAlways, v1alpha1.PullNever)
	case "reclaimPolicy":
		spec.Storage.ReclaimPolicy = pick(w, "reclaim", v1alpha1.ReclaimRetain, v1alpha1.ReclaimDelete)
	case "deletion":
		record.DeletionTimestamp = &metav1.Time{Time: w.in.Now}
	}
}

func endOf(container string, at time.Time) string {
	return container + "@" + at.UTC().Format(time.RFC3339Nano)
}

// noteStop notes a stop that is about to end the run that it was meant for, and
// not one that somebody began since.
func (w *world) noteStop(id string) {
	c := w.find(id)
	meant := func(i Intent) bool { return i.Action == v1alpha1.ActionStop && i.means(c.ID, c.StartedAt) }
	if c != nil && alive(c) && slices.ContainsFunc(w.in.Intents, meant) {
		w.stopped[endOf(id, w.in.Now)] = true
	}
}

// checkCause: what we ended we say we ended, after a restart too, and nothing else.
func (w *world) checkCause(end *v1alpha1.Termination) {
	if end == nil || end.ContainerID == "" || end.FinishedAt == nil {
		return
	}
	key := endOf(end.ContainerID, end.FinishedAt.Time)
	ours := end.Operation != ""
	meant := slices.ContainsFunc(w.in.Intents, func(i Intent) bool { return i.Container == end.ContainerID && i.ends() })
	require.False(w.t, w.stopped[key] && !ours, "a stop of ours is called %s", end.Reason)
	require.False(w.t, w.crashed[key] && !meant && ours, "a crash is called a stop of ours")
	require.False(w.t, ours && end.Reason != v1alpha1.TerminationStoppedByUs && end.Reason != v1alpha1.TerminationProbeFailed)
}

// rest lets time pass until the plan says to look again. It is what a removal
// that goes on needs.
func (w *world) rest() {
	until := w.in.Now.Add(time.Second)
	if wait, ok := w.next.(Wait); ok && wait.Until.After(until) {
		until = wait.Until
	}
	if w.again.After(until) {
		until = w.again
	}
	w.in.Now = until
	w.containers = slices.DeleteFunc(w.containers, func(c engine.Container) bool { return c.State == engine.StateRemoving })
}

// clone copies an input, so that a change of it shows.
func clone(in Input) Input {
	in.Record = in.Record.DeepCopy()
	in.View.Containers = slices.Clone(in.View.Containers)
	for i := range in.View.Containers {
		c := &in.View.Containers[i]
		if c.Exit != nil {
			exit := *c.Exit
			c.Exit = &exit
		}
		c.HostPorts = maps.Clone(c.HostPorts)
	}
	in.Health = slices.Clone(in.Health)
	in.Intents = slices.Clone(in.Intents)
	if in.InHand != nil {
		work := *in.InHand
		in.InHand = &work
	}
	if in.Last != nil {
		last := *in.Last
		in.Last = &last
	}
	return in
}
