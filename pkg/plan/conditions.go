package plan

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// verdict is what a condition says.
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

// conditions are all five, always: an absent condition cannot be waited for.
func conditions(in Input, p Plan) []metav1.Condition {
	all := append([]metav1.Condition(nil), in.Record.Status.Conditions...)
	for _, c := range []struct {
		kind string
		verdict
	}{
		{v1alpha1.ConditionReady, ready(in, p)},
		{v1alpha1.ConditionProgressing, progressing(in, p)},
		{v1alpha1.ConditionHealthy, healthy(in)},
		{v1alpha1.ConditionInSync, inSync(in, p)},
		{v1alpha1.ConditionEngineReachable, engineReachable(in)},
	} {
		meta.SetStatusCondition(&all, metav1.Condition{
			Type: c.kind, Status: c.status, Reason: c.reason, Message: c.message,
			ObservedGeneration: in.Record.Generation,
			LastTransitionTime: metav1.NewTime(in.Now),
		})
	}
	return all
}

func ready(in Input, p Plan) verdict {
	if away := engineAway(in); away != nil {
		return verdict{metav1.ConditionUnknown, away.Reason, away.Message}
	}
	no := func(reason, message string) verdict { return verdict{metav1.ConditionFalse, reason, message} }
	switch {
	case !in.Record.DeletionTimestamp.IsZero():
		return no(v1alpha1.ReasonDeleting, "the record is being deleted")
	case in.Record.Spec.State == v1alpha1.StateStopped:
		return no(v1alpha1.ReasonStopped, "the record asks for Stopped")
	}
	if next := p.Next(); next != nil && !p.runsOn(in) {
		if wait, ok := next.(Wait); ok {
			return no(wait.Reason, wait.Message)
		}
		return no(doing(next), next.String())
	}
	if c, _ := choose(in); c == nil || !alive(c) {
		return notRestarted(in)
	}
	if probe := failingProbe(in.Health); probe != nil {
		return no(v1alpha1.ReasonProbeFailed, fails(*probe))
	}
	if reason, message := probing(in); reason != "" {
		return no(reason, message)
	}
	return verdict{metav1.ConditionTrue, v1alpha1.ReasonReady, "the game runs"}
}

// notRestarted tells of a game that ended and that the restart policy leaves so.
func notRestarted(in Input) verdict {
	end := lastTermination(in)
	if end != nil && end.Reason == v1alpha1.TerminationCompleted {
		return verdict{metav1.ConditionFalse, v1alpha1.ReasonCompleted, "the game ended: " + end.Message}
	}
	message := "the container does not run"
	if end != nil {
		message = string(end.Reason) + ": " + end.Message
	}
	return verdict{metav1.ConditionFalse, v1alpha1.ReasonRestartPolicy, message}
}

// runsOn says that whatever is planned leaves the running game alone.
func (p Plan) runsOn(in Input) bool {
	c, _ := choose(in)
	if c == nil || !alive(c) {
		return false
	}
	if wait, waits := p.Next().(Wait); waits {
		switch wait.Reason {
		case v1alpha1.ReasonPaused, v1alpha1.ReasonObserved, v1alpha1.ReasonRolledBack,
			v1alpha1.ReasonUnhealthy, v1alpha1.ReasonProbeRestartLimit:
			return true
		}
	}
	switch next := firstDeed(p.Actions).(type) {
	case UpdateResources, RenameContainer:
		return true
	case RemoveContainer:
		return next.ID != c.ID
	}
	return false
}

func progressing(in Input, p Plan) verdict {
	if waits := pending(in, p); waits != nil {
		return verdict{metav1.ConditionTrue, waits.Reason, waits.Message}
	}
	return verdict{metav1.ConditionFalse, v1alpha1.ReasonInSync, "nothing is left to do"}
}

func healthy(in Input) verdict {
	c, _ := choose(in)
	if c == nil || !alive(c) {
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotRunning, "nothing runs to be probed"}
	}
	if len(in.Health) == 0 {
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonNoProbes, "the record declares no probes, and the image none"}
	}
	all := verdict{metav1.ConditionTrue, v1alpha1.ReasonProbesSucceeded, "all probes succeed"}
	for _, v := range in.Health {
		switch {
		case v.Verdict == v1alpha1.VerdictFailing && v.Probe != v1alpha1.ProbeInspect:
			return verdict{metav1.ConditionFalse, v1alpha1.ReasonProbeFailed, fails(v)}
		case v.Verdict == v1alpha1.VerdictFailing:
			all = verdict{metav1.ConditionFalse, v1alpha1.ReasonHealthcheckFailed, fails(v)}
		case v.Verdict == v1alpha1.VerdictUnknown && all.status == metav1.ConditionTrue:
			all = verdict{metav1.ConditionUnknown, v1alpha1.ReasonProbing, awaits(v)}
		}
	}
	return all
}

func inSync(in Input, p Plan) verdict {
	if away := engineAway(in); away != nil {
		return verdict{metav1.ConditionUnknown, away.Reason, away.Message}
	}
	if p.InSync() {
		return verdict{metav1.ConditionTrue, v1alpha1.ReasonInSync, "the engine shows what the record declares"}
	}
	next := firstDeed(p.Actions)
	if next == nil {
		next = p.Next()
	}
	return verdict{metav1.ConditionFalse, v1alpha1.ReasonPlanned, next.String()}
}

func engineReachable(in Input) verdict {
	switch {
	case in.Fleet.Reachable:
		return verdict{metav1.ConditionTrue, v1alpha1.ReasonEngineReachable, "engine " + in.Fleet.Info.Name + " answers"}
	case in.Fleet.Since.IsZero():
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonEngineNotSeen, "the engine was not asked yet"}
	default:
		return verdict{metav1.ConditionFalse, v1alpha1.ReasonEngineUnreachable, in.Fleet.Reason}
	}
}

func findCondition(all []metav1.Condition, kind string) *metav1.Condition {
	return meta.FindStatusCondition(all, kind)
}
