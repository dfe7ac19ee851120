package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Exit codes that are no program's own, or not for sure: 128 and more is the
// shell's way to tell a signal, which engines follow.
const (
	codeSignal  = 128
	codeKilled  = codeSignal + 9
	codeStopped = codeSignal + 15
	codeLost    = 255
)

// What goes down takes the games with it before it is gone.
const (
	engineGoesDown = 15 * time.Second
	hostGoesDown   = 5 * time.Minute
)

// cause says why a container ended that we did not end ourselves, by the
// strongest evidence: what the kernel and the engine say, what went away with
// it, what somebody sent it. The exit code comes last, for it lies: 137 is any
// SIGKILL, and 255 is what an engine says that does not know.
func cause(in Input, c *engine.Container) (v1alpha1.TerminationReason, string) {
	exit := c.Exit
	switch {
	case exit.Error != "":
		return startFailed(exit.StartKind), exit.Error
	case exit.OOMKilled && exit.Code == codeKilled:
		return v1alpha1.TerminationOOMKilled, "out of memory: killed by the kernel at its limit" + limit(c)
	case rebooted(in.Fleet, c):
		return v1alpha1.TerminationHostRebooted, "its host went down and started again at " + clock(in.Fleet.Info.BootedAt)
	case engineWentDown(in.Fleet, exit):
		return v1alpha1.TerminationEngineRestarted, "it went down with the engine, which was away from " + clock(in.Fleet.Gone)
	case byHand(in, c):
		return v1alpha1.TerminationStoppedByHand, fmt.Sprintf("somebody sent it %s over the engine's API, exit code %d", c.Signal, exit.Code)
	case exit.OOMKilled && exit.Code != 0:
		return v1alpha1.TerminationOOMKilled, fmt.Sprintf("exit code %d, after one of its processes was killed at its memory limit%s", exit.Code, limit(c))
	case exit.Code == codeLost:
		return v1alpha1.TerminationUnknown, "exit code 255: the engine lost the real one, with its host or its shim, or the game chose it"
	case exit.Code == 0:
		return v1alpha1.TerminationCompleted, "exit code 0"
	default:
		return v1alpha1.TerminationCrashed, crash(exit.Code)
	}
}

// startFailed is the cause for a kind of failed start.
func startFailed(kind engine.Kind) v1alpha1.TerminationReason {
	switch kind {
	case engine.PortConflict:
		return v1alpha1.TerminationStartFailedPort
	case engine.MountFailed:
		return v1alpha1.TerminationStartFailedMount
	case engine.ProgramFailed:
		return v1alpha1.TerminationStartFailedImage
	default:
		return v1alpha1.TerminationStartFailedRuntime
	}
}

// neverRan says that a cause is a start that failed.
func neverRan(reason v1alpha1.TerminationReason) bool {
	switch reason {
	case v1alpha1.TerminationStartFailedPort, v1alpha1.TerminationStartFailedMount,
		v1alpha1.TerminationStartFailedImage, v1alpha1.TerminationStartFailedRuntime:
		return true
	default:
		return false
	}
}

// startFailure is the start of ours that just failed. It is told once, not at
// each try, and the end before it keeps its count. The engine's own note of it
// is no use here: it has none of a mount that was not there.
func startFailure(in Input, last *v1alpha1.Termination) *v1alpha1.Termination {
	if in.Last == nil {
		return nil
	}
	start, ok := in.Last.Action.(StartContainer)
	kind := engine.KindOf(in.Last.Err)
	if !ok || !slices.Contains([]engine.Kind{engine.PortConflict, engine.MountFailed, engine.ProgramFailed, engine.StartFailed}, kind) {
		return nil
	}
	failed := &v1alpha1.Termination{
		Reason: startFailed(kind), Message: withoutHostPaths(in.Last.Err.Error(), in.Settings), ExitCode: codeSignal,
		ContainerID: start.ID, FinishedAt: microTime(in.Now), ObservedGeneration: in.Record.Generation,
	}
	if c, _ := choose(in); c != nil && c.ID == start.ID {
		failed.ImageDigest, failed.StartedAt = c.ImageID, microTime(c.StartedAt)
		if c.Exit != nil && c.Exit.Error != "" {
			failed.ExitCode = c.Exit.Code
		}
	}
	if last == nil {
		return failed
	}
	if told(last, failed) && last.Reason == failed.Reason && last.Message == failed.Message {
		return last
	}
	failed.Settled = last.Settled
	if last.RestartedAt == nil {
		failed.InARow = last.InARow
	}
	if last.ObservedGeneration == in.Record.Generation {
		failed.ByProbeInARow = last.ByProbeInARow
	}
	return failed
}

// rebooted says that a container ran when its host went down: it was found dead
// after the boot, or stopped with all others shortly before it.
func rebooted(fleet engine.Fleet, c *engine.Container) bool {
	booted := fleet.Info.BootedAt
	return !booted.IsZero() && c.StartedAt.Before(booted) && c.Exit.FinishedAt.After(booted.Add(-hostGoesDown)) && takenDown(c.Exit.Code)
}

// engineWentDown says that a container ended while the engine was away, or about
// to go.
func engineWentDown(fleet engine.Fleet, exit *engine.Exit) bool {
	if fleet.Gone.IsZero() || exit.FinishedAt.Before(fleet.Gone.Add(-engineGoesDown)) || fleet.Reachable && exit.FinishedAt.After(fleet.Back) {
		return false
	}
	return takenDown(exit.Code)
}

// takenDown says that an exit code is one of a game that was stopped, killed or
// lost. Any other is the game's own, whatever went down meanwhile.
func takenDown(code int32) bool {
	return code == 0 || code == codeKilled || code == codeStopped || code == codeLost
}

// byHand says that the last signal sent over the engine's API, which was not
// ours, explains an end: it killed the game, or asked it to stop. To SIGHUP and
// the like a game may do anything.
func byHand(in Input, c *engine.Container) bool {
	switch c.Signal {
	case "":
		return false
	case "SIGTERM", "SIGINT", "SIGQUIT", in.Record.Spec.StopSignal:
		return true
	default:
		return c.Exit.Code > codeSignal && c.Signal == signals[c.Exit.Code-codeSignal]
	}
}

// crash tells an exit code in words.
func crash(code int32) string {
	switch name := signals[code-codeSignal]; {
	case code == codeKilled:
		return "killed by SIGKILL, exit code 137: not over the engine's API, and not for lack of memory, as far as the engine tells"
	case name != "":
		return fmt.Sprintf("died of %s, exit code %d", name, code)
	default:
		return fmt.Sprintf("exit code %d", code)
	}
}

// signalOf is the signal that ended a run, if one did.
func signalOf(reason v1alpha1.TerminationReason, c *engine.Container) string {
	if name := signals[c.Exit.Code-codeSignal]; name != "" && !neverRan(reason) {
		return name
	}
	if reason == v1alpha1.TerminationStoppedByHand {
		return c.Signal
	}
	return ""
}

// signals are Linux' own, which games run on wherever their manager does.
var signals = map[int32]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
	10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
}

func limit(c *engine.Container) string {
	if c.Resources.MemoryBytes == 0 {
		return ""
	}
	return " of " + resource.NewQuantity(c.Resources.MemoryBytes, resource.BinarySI).String()
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// lastLines are what a record keeps of a game's log: whole lines, the last ones.
func lastLines(log string) string {
	const most = 2 << 10
	log = strings.TrimRight(log, "\n")
	if len(log) <= most {
		return log
	}
	log = log[len(log)-most:]
	if _, whole, found := strings.Cut(log, "\n"); found {
		return whole
	}
	return strings.ToValidUTF8(log, "")
}
