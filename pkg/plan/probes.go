package plan

import (
	"fmt"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// restarts says that a probe's failure makes a restart part of the plan.
func restarts(probe string) bool {
	return probe != v1alpha1.ProbeReadiness && probe != v1alpha1.ProbeInspect
}

// failingProbe is the probe whose failure asks for a restart, the first of them;
// nil if none does.
func failingProbe(health []v1alpha1.ProbeStatus) *v1alpha1.ProbeStatus {
	var first *v1alpha1.ProbeStatus
	for i := range health {
		v := &health[i]
		if restarts(v.Probe) && v.Verdict == v1alpha1.VerdictFailing && (first == nil || v.FailedAt.Before(first.FailedAt)) {
			first = v
		}
	}
	return first
}

// patience is why a game with a failing probe runs on; nil if it is to be
// restarted now.
func patience(in Input, c *engine.Container, probe *v1alpha1.ProbeStatus) *Wait {
	if stopping(in, c) {
		return nil
	}
	probes := in.Record.Spec.Probes
	if most := probes.MaxRestarts; most != nil && byProbesSoFar(in, c, probe) >= *most {
		return &Wait{
			Reason: v1alpha1.ReasonProbeRestartLimit,
			Message: fmt.Sprintf("not restarted more than %d times in a row, until the record changes or is told to retry: %s",
				*most, fails(*probe)),
		}
	}
	due := probe.FailedAt.Add(time.Duration(probes.RestartAfterSeconds) * time.Second)
	if due.After(in.Now) {
		return &Wait{Reason: v1alpha1.ReasonUnhealthy, Message: fails(*probe), Until: due}
	}
	return nil
}

// byProbesSoFar is how many times in a row probes had the game restarted. One
// that ran well for long enough begins anew, and not one that fails for as long.
func byProbesSoFar(in Input, c *engine.Container, probe *v1alpha1.ProbeStatus) int32 {
	last := lastTermination(in)
	if last == nil || last.ObservedGeneration != in.Record.Generation {
		return 0
	}
	well := in.Record.Spec.Backoff.ResetAfter.Duration
	if well > 0 && probe.FailedAt.Sub(began(in, c)) >= well {
		return 0
	}
	return last.ByProbeInARow
}

// probing says which probe keeps a running game from being ready; "" if none does.
func probing(in Input) (reason, message string) {
	for _, v := range in.Health {
		switch v.Probe {
		case v1alpha1.ProbeLiveness, v1alpha1.ProbeProgress, v1alpha1.ProbeInspect:
			continue
		}
		switch v.Verdict {
		case v1alpha1.VerdictUnknown:
			return v1alpha1.ReasonProbing, awaits(v)
		case v1alpha1.VerdictFailing:
			return v1alpha1.ReasonProbeFailed, fails(v)
		}
	}
	return "", ""
}

func named(probe string) string {
	if probe == v1alpha1.ProbeInspect {
		return "the image's HEALTHCHECK"
	}
	return "the " + probe + " probe"
}

func fails(v v1alpha1.ProbeStatus) string {
	return named(v.Probe) + " fails" + because(v)
}

func failed(v v1alpha1.ProbeStatus) string {
	return named(v.Probe) + " failed" + because(v)
}

func awaits(v v1alpha1.ProbeStatus) string {
	return named(v.Probe) + " has not succeeded yet"
}

// because is a verdict's last result, where there is one.
func because(v v1alpha1.ProbeStatus) string {
	if v.Message == "" {
		return ""
	}
	return ": " + v.Message
}
