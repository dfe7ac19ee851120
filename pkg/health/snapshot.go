package health

import (
	"encoding/json"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Snapshot is a game's health in brief, as one status tells it. Times count
// milliseconds since 1970; 0 is none.
type Snapshot struct {
	Namespace  string    `json:"namespace"`
	GameID     string    `json:"game_id"`
	UID        types.UID `json:"uid"`
	Generation int64     `json:"generation"`
	// At is when it was taken. It is no part of what Equal compares.
	At    time.Time      `json:"at"`
	Phase v1alpha1.Phase `json:"phase"`
	// Ready and Healthy are the status of those conditions: True, False or Unknown.
	Ready     metav1.ConditionStatus `json:"ready"`
	Healthy   metav1.ConditionStatus `json:"healthy"`
	Probes    []ProbeSnapshot        `json:"probes,omitempty"`
	Container ContainerSnapshot      `json:"container,omitzero"`
	LastEnd   EndSnapshot            `json:"last_end,omitzero"`
	// Told are the ids of the events that this status tells of, oldest first.
	Told []string `json:"told,omitempty"`
}

// ProbeSnapshot is the verdict of one probe.
type ProbeSnapshot struct {
	Probe      string `json:"probe"`
	Verdict    string `json:"verdict"`
	Message    string `json:"message,omitempty"`
	SinceMs    int64  `json:"since_ms,omitempty"`
	FailedAtMs int64  `json:"failed_at_ms,omitempty"`
}

// ContainerSnapshot is the game's container.
type ContainerSnapshot struct {
	ID          string                  `json:"id"`
	Image       string                  `json:"image"`
	State       v1alpha1.ContainerState `json:"state"`
	StartedAtMs int64                   `json:"started_at_ms,omitempty"`
}

// EndSnapshot is how the game last ended, or failed to start.
type EndSnapshot struct {
	Reason       v1alpha1.TerminationReason `json:"reason"`
	FinishedAtMs int64                      `json:"finished_at_ms,omitempty"`
}

// SnapshotOf sums up the status of a record.
func SnapshotOf(record *v1alpha1.GameRuntime, at time.Time) Snapshot {
	status := &record.Status
	s := Snapshot{
		Namespace: record.Namespace, GameID: record.Name, UID: record.UID, Generation: status.ObservedGeneration,
		At: at.UTC().Truncate(time.Microsecond), Phase: status.Phase,
		Ready: condition(status, v1alpha1.ConditionReady), Healthy: condition(status, v1alpha1.ConditionHealthy),
	}
	for _, p := range status.Health {
		s.Probes = append(s.Probes, ProbeSnapshot{
			Probe: p.Probe, Verdict: p.Verdict, Message: p.Message, SinceMs: millis(p.Since), FailedAtMs: millis(p.FailedAt),
		})
	}
	if c := status.Container; c != nil {
		s.Container = ContainerSnapshot{ID: c.ID, Image: c.Image, State: c.State, StartedAtMs: millis(c.StartedAt)}
	}
	if end := status.LastTermination; end != nil {
		s.LastEnd = EndSnapshot{Reason: end.Reason, FinishedAtMs: millis(end.FinishedAt)}
	}
	for _, event := range Of(record) {
		s.Told = append(s.Told, event.id)
	}
	return s
}

// Game names the record.
func (s Snapshot) Game() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.GameID}
}

// JSON is the snapshot as an object; json.Unmarshal reads it back.
func (s Snapshot) JSON() json.RawMessage { return object(s) }

// Equal says that two snapshots tell the same, whenever they were taken.
func (s Snapshot) Equal(other Snapshot) bool {
	return s.Namespace == other.Namespace && s.GameID == other.GameID && s.UID == other.UID && s.Generation == other.Generation &&
		s.Phase == other.Phase && s.Ready == other.Ready && s.Healthy == other.Healthy &&
		slices.Equal(s.Probes, other.Probes) && s.Container == other.Container && s.LastEnd == other.LastEnd &&
		slices.Equal(s.Told, other.Told)
}

func condition(status *v1alpha1.GameRuntimeStatus, name string) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(status.Conditions, name); c != nil {
		return c.Status
	}
	return metav1.ConditionUnknown
}
