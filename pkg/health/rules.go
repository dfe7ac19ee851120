package health

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Who observes the facts.
const (
	reconciler = "reconciler"
	mirror     = "mirror"
	prober     = "prober"
)

// rule makes one type of event out of a status.
type rule struct {
	kind v1alpha1.HealthEventType
	// owner observes the fact, and field is where in the status it stands.
	owner string
	field string
	facts func(*v1alpha1.GameRuntime) []fact
}

// rules name for each type its one owner.
var rules = []rule{
	{v1alpha1.HealthContainerStarted, reconciler, "container.startedBy", started},
	{v1alpha1.HealthContainerExited, mirror, "lastTermination", ends(v1alpha1.HealthContainerExited)},
	{v1alpha1.HealthContainerOOM, mirror, "lastTermination", ends(v1alpha1.HealthContainerOOM)},
	{v1alpha1.HealthContainerDisappeared, mirror, "lastTermination", ends(v1alpha1.HealthContainerDisappeared)},
	{v1alpha1.HealthInspectUnhealthy, mirror, "health[inspect], container.unexpectedStarts", unhealthy},
	{v1alpha1.HealthProbeFailed, prober, "health[].failedAt", failed},
	{v1alpha1.HealthProbeRecovered, prober, "health[].failedAt, since", recovered},
}

// Types returns all types of events that are told.
func Types() []v1alpha1.HealthEventType {
	types := make([]v1alpha1.HealthEventType, len(rules))
	for i, rule := range rules {
		types[i] = rule.kind
	}
	return types
}

// startedDetails are the details of container_started.
type startedDetails struct {
	Image       string `json:"image"`
	ImageDigest string `json:"image_digest,omitempty"`
	// Restarts counts the starts that followed an exit nobody asked for.
	Restarts int32 `json:"restarts"`
}

func started(record *v1alpha1.GameRuntime) []fact {
	c := record.Status.Container
	if c == nil || c.StartedAt == nil || c.StartedBy == "" {
		return nil
	}
	return []fact{{
		key: []string{c.ID, moment(c.StartedAt)}, at: c.StartedAt, container: c.ID, operation: c.StartedBy,
		details: startedDetails{Image: c.Image, ImageDigest: c.ImageDigest, Restarts: record.Status.Restarts},
	}}
}

// endDetails are the details of container_exited, container_oom and
// container_disappeared.
type endDetails struct {
	Reason  v1alpha1.TerminationReason `json:"reason"`
	Message string                     `json:"message"`
	// ExitCode is 255 where nobody knows it.
	ExitCode int32  `json:"exit_code"`
	Signal   string `json:"signal,omitempty"`
	// Image is empty where another container took the place of this one.
	Image       string `json:"image,omitempty"`
	ImageDigest string `json:"image_digest,omitempty"`
	StartedAtMs int64  `json:"started_at_ms,omitempty"`
	Restarts    int32  `json:"restarts"`
	// Confidence is for container_oom alone: certain if the kernel killed the
	// game's main process, likely if it killed another one and that one ended
	// since.
	Confidence string `json:"confidence,omitempty"`
}

// ends makes a run's end an event of one kind, if it is of that kind.
func ends(kind v1alpha1.HealthEventType) func(*v1alpha1.GameRuntime) []fact {
	return func(record *v1alpha1.GameRuntime) []fact {
		end := record.Status.LastTermination
		if end == nil || end.FinishedAt == nil || endKind(end) != kind {
			return nil
		}
		details := endDetails{
			Reason: end.Reason, Message: end.Message, ExitCode: end.ExitCode, Signal: end.Signal,
			ImageDigest: end.ImageDigest, StartedAtMs: millis(end.StartedAt), Restarts: record.Status.Restarts,
		}
		if c := record.Status.Container; c != nil && c.ID == end.ContainerID {
			details.Image = c.Image
		}
		if kind == v1alpha1.HealthContainerOOM {
			details.Confidence = confidence(end)
		}
		return []fact{{
			key: []string{end.ContainerID, moment(end.StartedAt), moment(end.FinishedAt)},
			at:  end.FinishedAt, container: end.ContainerID, operation: end.Operation, details: details,
		}}
	}
}

// endKind is the one kind of event that an end is; "" for a start that failed,
// which ended nothing.
func endKind(end *v1alpha1.Termination) v1alpha1.HealthEventType {
	switch end.Reason {
	case v1alpha1.TerminationStartFailedPort, v1alpha1.TerminationStartFailedMount,
		v1alpha1.TerminationStartFailedImage, v1alpha1.TerminationStartFailedRuntime:
		return ""
	case v1alpha1.TerminationOOMKilled:
		return v1alpha1.HealthContainerOOM
	default:
		if end.Disappeared {
			return v1alpha1.HealthContainerDisappeared
		}
		return v1alpha1.HealthContainerExited
	}
}

// confidence says how sure it is that memory was the cause: the engine's flag is
// set for any process of the container, SIGKILL is the kernel's way.
func confidence(end *v1alpha1.Termination) string {
	if end.Signal == "SIGKILL" {
		return "certain"
	}
	return "likely"
}

// verdictDetails are the details of probe_failed, probe_recovered and
// inspect_unhealthy.
type verdictDetails struct {
	// Reason is v1alpha1's, as in the record's conditions and Events.
	Reason string `json:"reason"`
	// Probe is startup, liveness, readiness or progress; or inspect, which is the
	// image's own HEALTHCHECK.
	Probe   string `json:"probe,omitempty"`
	Verdict string `json:"verdict,omitempty"`
	Message string `json:"message,omitempty"`
	// SinceMs is when it began to fail.
	SinceMs int64 `json:"since_ms,omitempty"`
	// Starts counts the runs of this container that somebody else began.
	Starts int32 `json:"unexpected_starts,omitempty"`
}

func failed(record *v1alpha1.GameRuntime) []fact {
	var facts []fact
	for _, probe := range record.Status.Health {
		if probe.Probe != v1alpha1.ProbeInspect && probe.FailedAt != nil {
			facts = append(facts, failure(record, probe, v1alpha1.ReasonProbeFailed))
		}
	}
	return facts
}

// failure is the beginning of one: also of one that is over by now.
func failure(record *v1alpha1.GameRuntime, probe v1alpha1.ProbeStatus, reason string) fact {
	details := verdictDetails{Reason: reason, Probe: probe.Probe, Verdict: v1alpha1.VerdictFailing, SinceMs: millis(probe.FailedAt)}
	if probe.Verdict == v1alpha1.VerdictFailing {
		details.Message = probe.Message
	}
	return fact{
		key: []string{probe.Probe, moment(probe.FailedAt)}, at: probe.FailedAt,
		container: containerAt(record, probe.FailedAt), details: details,
	}
}

func recovered(record *v1alpha1.GameRuntime) []fact {
	var facts []fact
	for _, probe := range record.Status.Health {
		if probe.Probe == v1alpha1.ProbeInspect || probe.Verdict != v1alpha1.VerdictSucceeding || probe.FailedAt == nil || probe.Since == nil {
			continue
		}
		facts = append(facts, fact{
			key: []string{probe.Probe, moment(probe.FailedAt)}, at: probe.Since, container: containerAt(record, probe.Since),
			details: verdictDetails{
				Reason: v1alpha1.ReasonProbeRecovered, Probe: probe.Probe, Verdict: probe.Verdict, Message: probe.Message,
				SinceMs: millis(probe.FailedAt),
			},
		})
	}
	return facts
}

func unhealthy(record *v1alpha1.GameRuntime) []fact {
	var facts []fact
	for _, probe := range record.Status.Health {
		if probe.Probe == v1alpha1.ProbeInspect && probe.FailedAt != nil {
			facts = append(facts, failure(record, probe, v1alpha1.ReasonHealthcheckFailed))
		}
	}
	c := record.Status.Container
	if c == nil || c.StartedAt == nil || c.StartedBy != "" || c.UnexpectedStarts == 0 {
		return facts
	}
	return append(facts, fact{
		key: []string{c.ID, moment(c.StartedAt)}, at: c.StartedAt, container: c.ID,
		details: verdictDetails{
			Reason: v1alpha1.ReasonUnexpectedStart, Message: "somebody else started the container", Starts: c.UnexpectedStarts,
		},
	})
}

// containerAt is the container that ran at a time; "" if the status does not
// tell.
func containerAt(record *v1alpha1.GameRuntime, at *metav1.MicroTime) string {
	if c := record.Status.Container; c != nil && c.StartedAt != nil && !at.Before(c.StartedAt) {
		return c.ID
	}
	if end := record.Status.LastTermination; end != nil && end.StartedAt != nil && !at.Before(end.StartedAt) {
		return end.ContainerID
	}
	return ""
}
