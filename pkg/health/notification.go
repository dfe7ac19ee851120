package health

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// How much a notification matters: a game is down, or does not work as it should.
const (
	severityError   = "error"
	severityWarning = "warning"
)

// Notification is what people should be told of an event.
type Notification struct {
	// ID is a UUID that follows from the event's.
	ID string
	// Payload is a JSON object for the service that tells them, on the stream
	// notification:intents.
	Payload json.RawMessage
}

// notification is one as that service reads it. Fields may be added to it, and
// none is renamed or removed.
type notification struct {
	// IntentID is the same each time the notification is delivered.
	IntentID     string                   `json:"intent_id"`
	Kind         v1alpha1.HealthEventType `json:"kind"`
	Severity     string                   `json:"severity"`
	Namespace    string                   `json:"namespace"`
	GameID       string                   `json:"game_id"`
	Title        string                   `json:"title"`
	Body         string                   `json:"body"`
	OccurredAtMs int64                    `json:"occurred_at_ms"`
	EventID      string                   `json:"event_id"`
}

// Notification is what people should be told of the event; not ok if that is
// nothing: what we or somebody else did on purpose, and what went as it should.
func (e Event) Notification() (n Notification, ok bool) {
	severity, what, body := e.concern()
	if what == "" {
		return n, false
	}
	n.ID = uuid.NewSHA1(namespace, []byte("notification/"+e.id)).String()
	n.Payload = object(notification{
		IntentID: n.ID, Kind: e.kind, Severity: severity, Namespace: e.game.Namespace, GameID: e.game.Name,
		Title: fmt.Sprintf("Game %s %s", e.game.Name, what), Body: body, OccurredAtMs: e.at.UnixMilli(), EventID: e.id,
	})
	return n, true
}

// concern says how much an event matters, and in what words; what is empty for
// one that matters to nobody.
func (e Event) concern() (severity, what, body string) {
	switch details := e.details.(type) {
	case endDetails:
		return severityError, whatEnded(e.kind, details.Reason), details.Message
	case verdictDetails:
		return severityWarning, whatFails(e.kind, details), cmp.Or(details.Message, details.Reason)
	}
	return "", "", ""
}

func whatEnded(kind v1alpha1.HealthEventType, reason v1alpha1.TerminationReason) string {
	switch {
	case kind == v1alpha1.HealthContainerOOM:
		return "ran out of memory"
	case kind == v1alpha1.HealthContainerDisappeared:
		return "lost its container"
	case reason == v1alpha1.TerminationCrashed:
		return "crashed"
	}
	return ""
}

// whatFails leaves readiness out: a game that is busy says so itself.
func whatFails(kind v1alpha1.HealthEventType, details verdictDetails) string {
	switch {
	case kind == v1alpha1.HealthProbeFailed && details.Probe != v1alpha1.ProbeReadiness:
		return fmt.Sprintf("fails its %s probe", details.Probe)
	case kind == v1alpha1.HealthInspectUnhealthy && details.Reason == v1alpha1.ReasonUnexpectedStart:
		return "was started by somebody else"
	case kind == v1alpha1.HealthInspectUnhealthy:
		return "fails its image's health check"
	}
	return ""
}
