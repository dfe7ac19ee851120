package plan

import (
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// judges are those whose verdicts status.health holds, in its order.
var judges = []string{
	v1alpha1.ProbeStartup, v1alpha1.ProbeLiveness, v1alpha1.ProbeReadiness, v1alpha1.ProbeProgress, v1alpha1.ProbeInspect,
}

// verdicts are what is known of the game's health: what the prober and the engine
// say now, and what the record holds where that says no more. A verdict that did
// not change is the recorded one, to the last byte.
func verdicts(in Input) []v1alpha1.ProbeStatus {
	if !in.View.Seen || in.Brake != nil {
		return in.Record.Status.Health
	}
	c, _ := choose(in)
	var all []v1alpha1.ProbeStatus
	for _, probe := range judges {
		recorded, now := verdictOf(in.Record.Status.Health, probe), verdictNow(in, c, probe)
		if recorded == nil && now == nil {
			continue
		}
		if v := bring(in, c, recorded, now); v != nil {
			all = append(all, *v)
		}
	}
	return all
}

// Failed says that a probe fails, and that the record does not tell so yet. It
// must before anything is done about it: a stop ends what is said of the run.
func Failed(in Input) bool {
	for _, v := range verdicts(in) {
		recorded := verdictOf(in.Record.Status.Health, v.Probe)
		if v.Verdict == v1alpha1.VerdictFailing && (recorded == nil || !v.FailedAt.Equal(recorded.FailedAt)) {
			return true
		}
	}
	return false
}

func verdictOf(all []v1alpha1.ProbeStatus, probe string) *v1alpha1.ProbeStatus {
	for i := range all {
		if all[i].Probe == probe {
			return &all[i]
		}
	}
	return nil
}

// verdictNow is what is said of a running game; nil if nothing is.
func verdictNow(in Input, c *engine.Container, probe string) *v1alpha1.ProbeStatus {
	switch {
	case c == nil || !alive(c):
		return nil
	case probe == v1alpha1.ProbeInspect:
		return inspected(c.Health)
	default:
		return verdictOf(in.Health, probe)
	}
}

// inspected is the verdict of the image's own HEALTHCHECK.
func inspected(health *engine.Health) *v1alpha1.ProbeStatus {
	if health == nil {
		return nil
	}
	v := &v1alpha1.ProbeStatus{Probe: v1alpha1.ProbeInspect, Verdict: v1alpha1.VerdictUnknown}
	switch health.State {
	case engine.HealthStarting:
	case engine.HealthHealthy:
		v.Verdict = v1alpha1.VerdictSucceeding
	case engine.HealthUnhealthy:
		v.Verdict, v.Message = v1alpha1.VerdictFailing, health.Output
	}
	return v
}

// bring puts a recorded verdict and what is said now together; one of the two may
// be nil, and the result is if there is nothing to tell.
func bring(in Input, c *engine.Container, recorded, now *v1alpha1.ProbeStatus) *v1alpha1.ProbeStatus {
	if now == nil {
		return unheard(in, c, recorded)
	}
	same := sameRun(in.Record.Status.Container, c)
	if same && recorded != nil && (unchanged(recorded, now) || notAskedYet(in, recorded, now)) {
		return recorded
	}
	v := *now
	v.Message, v.Since, v.FailedAt = withoutHostPaths(v.Message, in.Settings), microTime(in.Now), nil
	if now.Since != nil {
		v.Since = microTime(now.Since.Time)
	}
	failsAnew := !same || !goesOn(recorded, began(in, c))
	switch {
	case v.Verdict == v1alpha1.VerdictFailing && failsAnew:
		v.FailedAt = v.Since
	case recorded != nil && (unrecovered(recorded) || v.Verdict == v1alpha1.VerdictSucceeding):
		v.FailedAt = recorded.FailedAt
	}
	return &v
}

func unchanged(recorded, now *v1alpha1.ProbeStatus) bool {
	return recorded.Verdict == now.Verdict && (now.Verdict != v1alpha1.VerdictFailing || recorded.FailedAt != nil)
}

// notAskedYet says that a prober which has just begun, with the manager, does not
// know yet what the record does: such a game was well, and is taken to be until
// it is found not to be. One that was not has to be found so again.
func notAskedYet(in Input, recorded, now *v1alpha1.ProbeStatus) bool {
	return now.Verdict == v1alpha1.VerdictUnknown && recorded.Verdict == v1alpha1.VerdictSucceeding &&
		in.Record.Status.ObservedGeneration == in.Record.Generation
}

// goesOn says that a failure which is found again, in a run that began then, is
// the recorded one.
func goesOn(recorded *v1alpha1.ProbeStatus, began time.Time) bool {
	return recorded != nil && unrecovered(recorded) && !recorded.FailedAt.Time.Before(began)
}

// unrecovered says that a probe failed, and did not succeed since.
func unrecovered(v *v1alpha1.ProbeStatus) bool {
	return v.FailedAt != nil && v.Verdict != v1alpha1.VerdictSucceeding
}

// unheard is what stays of a verdict of which nobody speaks now. Where nobody
// looks, all of it; else that it was a failure, until there is no such probe, or
// it succeeds.
func unheard(in Input, c *engine.Container, recorded *v1alpha1.ProbeStatus) *v1alpha1.ProbeStatus {
	looks := c == nil || c.Inspected && !stopping(in, c)
	if !looks && alive(c) && sameRun(in.Record.Status.Container, c) {
		return recorded
	}
	if !unrecovered(recorded) || !declared(in, c, recorded.Probe) {
		return nil
	}
	v := *recorded
	if v.Verdict != v1alpha1.VerdictUnknown {
		v.Verdict, v.Message, v.Since = v1alpha1.VerdictUnknown, "", microTime(in.Now)
	}
	return &v
}

// declared says that there is such a probe, as far as is known.
func declared(in Input, c *engine.Container, probe string) bool {
	probes := in.Record.Spec.Probes
	switch probe {
	case v1alpha1.ProbeStartup:
		return probes.Startup != nil
	case v1alpha1.ProbeLiveness:
		return probes.Liveness != nil
	case v1alpha1.ProbeReadiness:
		return probes.Readiness != nil
	case v1alpha1.ProbeProgress:
		return probes.Progress != nil
	default: // the image's, which a container shows
		return c == nil || !alive(c) || !c.Inspected || c.Health != nil
	}
}

// stopping says that a stop of a container is in hand.
func stopping(in Input, c *engine.Container) bool {
	if in.InHand == nil {
		return false
	}
	stop, ok := in.InHand.Action.(StopContainer)
	return ok && stop.ID == c.ID
}

// tellHealth tells each failure of a probe once, and that it is over.
func tellHealth(before, after []v1alpha1.ProbeStatus, tell teller) {
	for _, is := range after {
		was := v1alpha1.ProbeStatus{}
		if known := verdictOf(before, is.Probe); known != nil {
			was = *known
		}
		failed := v1alpha1.ReasonProbeFailed
		if is.Probe == v1alpha1.ProbeInspect {
			failed = v1alpha1.ReasonHealthcheckFailed
		}
		switch {
		case is.Verdict == v1alpha1.VerdictFailing && !is.FailedAt.Equal(was.FailedAt):
			tell("Warning", failed, "%s", fails(is))
		case is.Verdict == v1alpha1.VerdictSucceeding && is.FailedAt != nil && was.Verdict != v1alpha1.VerdictSucceeding:
			tell("Normal", v1alpha1.ReasonProbeRecovered, "%s succeeds again", named(is.Probe))
		}
	}
}
