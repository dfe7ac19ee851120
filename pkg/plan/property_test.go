package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// TestPlanIsReachedFromAnywhere drives the decision through a world in which
// anything goes wrong, then lets the world be calm: from wherever that left it,
// a bounded number of passes leads to the empty plan, or to a wait for what no
// retry mends. What must hold at every step is checked at every step.
func TestPlanIsReachedFromAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		unlessReleased := func(step func()) func(*rapid.T) {
			return func(*rapid.T) {
				if !w.released {
					step()
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"a pass":       unlessReleased(w.pass),
			"another pass": unlessReleased(w.pass),
			"time":         unlessReleased(w.rest),
			"disturbance":  unlessReleased(w.disturb),
			"edit":         unlessReleased(w.edit),
		})
		w.settle()
	})
}

// drawWorld is any state that a manager may find when it starts.
func drawWorld(t *rapid.T) *world {
	w := &world{t: t, in: newScene().in, images: map[string]bool{}, stopped: map[string]bool{}, crashed: map[string]bool{}, deeds: newDeeds()}
	w.in.View, w.in.Fleet = engine.View{}, engine.Fleet{}
	w.trouble = pick(w, "trouble", noTrouble, noTrouble, engineLost, registryRefuses, nameTaken, portTaken)
	w.images[w.in.Record.Spec.Image] = rapid.Bool().Draw(t, "image is here")
	w.stateDir = rapid.Bool().Draw(t, "state is here")
	w.probe = pick(w, "probe", "", liveness, liveness, v1alpha1.ProbeProgress, readiness)
	w.in.Record.Spec.Probes = probed(w.probe).in.Record.Spec.Probes
	w.judge(unknown)
	for range rapid.IntRange(0, 3).Draw(t, "edits") {
		w.edit()
	}
	w.drawContainers()
	w.drawRecorded()
	return w
}

func (w *world) drawContainers() {
	name := ContainerName(GameOf(w.in.Record), w.in.Settings.Installation)
	foreign := engine.Container{
		ID: "foreign", Name: "foreign", Installation: "another one", Game: GameOf(w.in.Record),
		State: engine.StateRunning, Inspected: true,
	}
	if w.trouble == nameTaken {
		foreign.Name = name
	}
	w.containers = append(w.containers, foreign)
	for i := range rapid.IntRange(0, 3).Draw(w.t, "containers") {
		c := w.drawContainer(fmt.Sprintf("c%d", i))
		if name := pick(w, "name", c.Name, name, previousName(w.in)); w.find(name) == nil {
			c.Name = name
		}
		w.containers = append(w.containers, c)
	}
}

func (w *world) drawContainer(id string) engine.Container {
	record := w.in.Record
	c := engine.Container{
		ID: id, Name: id, Installation: w.in.Settings.Installation, Game: GameOf(record), Inspected: true,
		UID:      pick(w, "uid", string(record.UID), "u-0"),
		SpecHash: pick(w, "spec", SpecHash(record, w.in.Settings), "image=an old one"),
		State: pick(w, "state", engine.StateRunning, engine.StateExited, engine.StateCreated, engine.StatePaused,
			engine.StateDead, engine.StateRemoving),
		Image: record.Spec.Image, ImageID: "sha256:1", CreatedAt: now.Add(-time.Hour),
		Resources: pick(w, "resources", resources(record), engine.Resources{Pids: 1}),
	}
	if c.State == engine.StateCreated {
		return c
	}
	c.StartedAt = now.Add(-pick(w, "ran for", time.Minute, time.Hour))
	if c.State == engine.StateExited || c.State == engine.StateDead {
		c.Exit = &engine.Exit{
			Code: pick(w, "code", int32(0), 1, 137, 255), OOMKilled: rapid.Bool().Draw(w.t, "oom"),
			Error: pick(w, "error", "", "no such file"), FinishedAt: now.Add(-pick(w, "ended", 0, time.Second, time.Minute)),
		}
	}
	return c
}

// drawRecorded is what an earlier manager wrote of the container.
func (w *world) drawRecorded() {
	ids := []string{"", "gone"}
	for _, c := range w.containers {
		if w.ours(&c) {
			ids = append(ids, c.ID)
		}
	}
	id := pick(w, "recorded", ids...)
	if id == "" {
		return
	}
	states := []v1alpha1.ContainerState{v1alpha1.ContainerRunning, v1alpha1.ContainerStopped}
	if id == "gone" {
		states = append(states, v1alpha1.ContainerRemoved)
	}
	w.in.Record.Status.Container = &v1alpha1.ContainerStatus{
		ID: id, Name: id, State: pick(w, "recorded state", states...), StartedAt: microTime(now.Add(-2 * time.Hour)),
	}
	w.deeds.started[id] = true // who began its run since is not known
}

// decide plans, and checks what holds of every plan.
func (w *world) decide() Plan {
	before := clone(w.in)
	p := For(w.in)
	require.Equal(w.t, p, For(before), "the same input gives the same plan")
	status := Status(w.in, p)
	require.Equal(w.t, status, Status(before, p), "the same input gives the same status")
	require.Equal(w.t, before, w.in, "an input is left as it was")
	checkStatus(w.t, w.in)

	if wait, waits := p.Next().(Wait); waits {
		require.NotNil(w.t, status.Pending, "a plan that waits says so")
		require.NotEmpty(w.t, wait.Reason)
		require.NotEmpty(w.t, status.Pending.Reason)
		require.Equal(w.t, microTime(wait.Until), status.Pending.NextTry, "and until when, if it knows")
		require.True(w.t, wait.Until.IsZero() || wait.Until.After(w.in.Now), "a wait is for what is to come")
	}
	if last := w.in.Last; last != nil && last.Err != nil && !p.InSync() {
		require.IsType(w.t, Wait{}, p.Next(), "a failure is followed by a pause")
	}
	return p
}

// checkTransition knows the four ways in which the recorded state of one
// container changes by heart.
func (w *world) checkTransition(from, to *v1alpha1.ContainerStatus) {
	if from == nil || to == nil || from.ID != to.ID || from.State == to.State {
		return
	}
	four := []string{"running→stopped", "running→removed", "stopped→running", "stopped→removed"}
	require.Contains(w.t, four, string(from.State)+"→"+string(to.State))
}

// checkStateRemoval knows the rule by which a state directory goes.
func (w *world) checkStateRemoval(a RemoveState) {
	record := w.in.Record
	require.Equal(w.t, GameOf(record), a.Game)
	require.False(w.t, record.DeletionTimestamp.IsZero(), "state of a record that is not deleted is removed")
	require.Equal(w.t, v1alpha1.ReclaimDelete, record.Spec.Storage.ReclaimPolicy, "state to be retained is removed")
	require.Empty(w.t, w.in.View.Containers, "state is removed before its container")
	w.checkNothingRan()
}

// checkNothingRan: a view may lack a container that was just made.
func (w *world) checkNothingRan() {
	for _, c := range w.containers {
		require.False(w.t, w.ours(&c) && (w.calm || !c.StartedAt.IsZero()), "container %s is left", c.ID)
	}
}

// release lets a record go.
func (w *world) release() {
	w.checkNothingRan()
	if w.in.Record.Spec.Storage.ReclaimPolicy == v1alpha1.ReclaimDelete {
		require.False(w.t, w.stateDir, "state that was given up is left")
	}
	w.released = true
}

// settle is the end of all faults but the world's trouble.
func (w *world) settle() {
	w.calm = true
	w.brake = nil
	for i := range w.containers {
		w.containers[i].Unresponsive = false
	}
	for _, a := range w.late {
		_ = w.do(a)
	}
	w.late = nil
	w.reach()
	if w.trouble == engineLost {
		w.in.Fleet = engine.Fleet{Reason: "connection refused", Since: w.in.Now}
	}
	const bound = 40
	for range bound {
		if !w.released {
			w.pass()
		}
		if w.released {
			return
		}
		if w.next == nil && w.in.InHand == nil && w.again.IsZero() {
			w.checkArrived()
			w.checkOwed()
			return
		}
		if _, waits := w.next.(Wait); waits || w.next == nil {
			w.rest()
		}
	}
	if w.in.InHand != nil {
		w.pass() // what came of it
	}
	w.checkHelpless()
}

// checkHelpless: what does not arrive waits for what no retry mends.
func (w *world) checkHelpless() {
	reasons := map[string][]string{
		engineLost: {v1alpha1.ReasonEngineUnreachable}, registryRefuses: {v1alpha1.ReasonImagePullFailed},
		nameTaken: {v1alpha1.ReasonNameConflict}, portTaken: {v1alpha1.ReasonPortConflict},
	}[w.trouble]
	if w.in.Record.Status.Rollback != nil {
		always := w.in.Record.Spec.RestartPolicy == v1alpha1.RestartAlways
		require.True(w.t, len(w.alive()) == 1 || w.trouble != noTrouble || !always, "what was brought back runs")
		reasons = append(reasons, v1alpha1.ReasonRolledBack)
	}
	spec := w.in.Record.Spec
	if most := spec.Probes.MaxRestarts; most != nil && w.deeds.byProbes >= *most && w.verdict == failing {
		reasons = append(reasons, v1alpha1.ReasonProbeRestartLimit)
	}
	if spec.ImagePullPolicy == v1alpha1.PullNever && !w.images[spec.Image] {
		reasons = append(reasons, v1alpha1.ReasonImageNotPresent)
	}
	require.NotEmpty(w.t, reasons, "the plan does not come to an end: %v", w.next)
	require.Contains(w.t, reasons, w.in.Record.Status.Pending.Reason)
}

// checkArrived compares what there is with what the record asks for.
func (w *world) checkArrived() {
	record := w.in.Record
	running := w.alive()
	if record.Spec.State == v1alpha1.StateStopped {
		require.LessOrEqual(w.t, w.count(), 2, "a game has one container at most, and the one before it")
		require.Empty(w.t, running, "the record asks for Stopped")
		return
	}
	require.LessOrEqual(w.t, w.count(), 1, "a game has one container at most")
	status := record.Status
	if len(running) == 0 {
		require.NotEqual(w.t, v1alpha1.RestartAlways, record.Spec.RestartPolicy, "the record asks for Running")
		require.Contains(w.t, []v1alpha1.Phase{v1alpha1.PhaseStopped, v1alpha1.PhaseFailed}, status.Phase)
		return
	}
	c := running[0]
	require.Equal(w.t, string(record.UID), c.UID)
	require.Equal(w.t, SpecHash(record, w.in.Settings), c.SpecHash)
	require.Equal(w.t, resources(record), c.Resources)
	require.Equal(w.t, c.ID, status.Container.ID)
	require.Equal(w.t, ContainerName(GameOf(record), w.in.Settings.Installation), c.Name)
	require.False(w.t, c.SelfRestarts, "the engine restarts nothing by itself")
	require.Equal(w.t, v1alpha1.ContainerRunning, status.Container.State)
}
