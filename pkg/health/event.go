package health

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Event is one thing that happened to a game's health.
type Event struct {
	id        string
	kind      v1alpha1.HealthEventType
	game      types.NamespacedName
	uid       types.UID
	at        time.Time
	container string
	operation string
	details   any // of this package's own types
}

// ID is a UUID, the same whenever this event is derived.
func (e Event) ID() string { return e.id }

// Type says what happened.
func (e Event) Type() v1alpha1.HealthEventType { return e.kind }

// Game names the record.
func (e Event) Game() types.NamespacedName { return e.game }

// UID is the record's: a game that was deleted and declared again is another.
func (e Event) UID() types.UID { return e.uid }

// At is when it happened, by the clock of whoever observed it: the engine's, or
// the prober's.
func (e Event) At() time.Time { return e.at }

// Container is the id of the container that it happened to; empty if the status
// does not tell.
func (e Event) Container() string { return e.container }

// Operation is the id of the operation of ours that did it; empty for what we
// did not do.
func (e Event) Operation() string { return e.operation }

// Details is a JSON object. Its keys depend on the type, and are those of the
// types named …Details in this package.
func (e Event) Details() json.RawMessage { return object(e.details) }

// payload is an event as other services read it. Fields may be added to it, and
// none is renamed or removed.
type payload struct {
	// EventID is the same each time the event is delivered.
	EventID   string                   `json:"event_id"`
	Type      v1alpha1.HealthEventType `json:"type"`
	Namespace string                   `json:"namespace"`
	GameID    string                   `json:"game_id"`
	// OccurredAtMs counts milliseconds since 1970.
	OccurredAtMs int64  `json:"occurred_at_ms"`
	ContainerID  string `json:"container_id"`
	OperationID  string `json:"operation_id"`
	Details      any    `json:"details"`
}

// Payload is the event as a JSON object for the platform's other services: on
// the stream runtime:health_events.
func (e Event) Payload() json.RawMessage {
	return object(payload{
		EventID: e.id, Type: e.kind, Namespace: e.game.Namespace, GameID: e.game.Name, OccurredAtMs: e.at.UnixMilli(),
		ContainerID: e.container, OperationID: e.operation, Details: e.details,
	})
}

// namespace makes our ids differ from those of anybody else's names.
var namespace = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("health.runtime.galaxy.io"))

// Of returns the events that a status tells of by now, oldest first. Those that
// it told of before, and that later ones took the place of, are not among them:
// they are to be ensured before a status is replaced.
func Of(record *v1alpha1.GameRuntime) []Event {
	var events []Event
	for _, rule := range rules {
		for _, f := range rule.facts(record) {
			events = append(events, f.event(record, rule.kind))
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return a.at.Compare(b.at) })
	return events
}

// fact is one thing that a status tells. What kind of event it is, is its rule's.
type fact struct {
	// key tells it from all others of its kind and record.
	key       []string
	at        *metav1.MicroTime
	container string
	operation string
	details   any
}

func (f fact) event(record *v1alpha1.GameRuntime, kind v1alpha1.HealthEventType) Event {
	name := strings.Join(append([]string{string(record.UID), string(kind)}, f.key...), "/")
	return Event{
		id: uuid.NewSHA1(namespace, []byte(name)).String(), kind: kind,
		game: types.NamespacedName{Namespace: record.Namespace, Name: record.Name}, uid: record.UID,
		at: f.at.Time, container: f.container, operation: f.operation, details: f.details,
	}
}

// object is a value of this package's own types as JSON.
func object(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("health: %T is no JSON: %v", v, err)) // of strings and numbers only
	}
	return text
}

// moment is a time as part of a key.
func moment(t *metav1.MicroTime) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// millis is a time as in a payload; 0 is none.
func millis(t *metav1.MicroTime) int64 {
	return cmp.Or(t, &metav1.MicroTime{Time: time.UnixMilli(0)}).UnixMilli()
}
