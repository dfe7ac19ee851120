package rest

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Runtime is what services see of a game: fields are added to it, and never taken
// away or given another meaning. What the record holds beside is not theirs.
type Runtime struct {
	GameID string `json:"game_id"`
	// State is what the record asks for, Phase a summary of what there is.
	State string `json:"state"`
	Phase string `json:"phase,omitempty"`
	Ready bool   `json:"ready"`
	// Image is the one that the record asks for.
	Image string `json:"image"`
	// Endpoint is where the game is reached on the games' network.
	Endpoint string `json:"endpoint,omitempty"`
	// HostPorts are published on the engine's host, by the names of the ports.
	HostPorts      map[string]int32 `json:"host_ports,omitempty"`
	ContainerID    string           `json:"container_id,omitempty"`
	ContainerState string           `json:"container_state,omitempty"`
	// ContainerImage is the one that the container was made from.
	ContainerImage string     `json:"container_image,omitempty"`
	StartedAt      *time.Time `json:"started_at,omitempty"`
	// Restarts counts the starts that followed an exit nobody asked for.
	Restarts  int32     `json:"restarts"`
	CreatedAt time.Time `json:"created_at"`
	// Deleting: the record goes when its container has.
	Deleting bool `json:"deleting,omitempty"`
	// Revision is of the record and its status together, as the ETag.
	Revision string `json:"revision"`
	// Generation counts the changes of what is asked for; ObservedGeneration is the
	// one that phase, conditions and pending tell of.
	Generation         int64        `json:"generation"`
	ObservedGeneration int64        `json:"observed_generation"`
	Conditions         []Condition  `json:"conditions,omitempty"`
	Pending            *Pending     `json:"pending,omitempty"`
	LastTermination    *Termination `json:"last_termination,omitempty"`
	LastOperation      *Operation   `json:"last_operation,omitempty"`
}

// Condition is one aspect of a game.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`
}

// Pending is what a game waits for.
type Pending struct {
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Failures counts the tries that failed in a row.
	Failures int32      `json:"failures,omitempty"`
	Since    time.Time  `json:"since"`
	NextTry  *time.Time `json:"next_try,omitempty"`
}

// Termination is how the game's container last ended.
type Termination struct {
	Reason     string     `json:"reason"`
	Message    string     `json:"message,omitempty"`
	ExitCode   int32      `json:"exit_code"`
	Signal     string     `json:"signal,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
}

// Operation is the last change made, or tried, to the game's container.
type Operation struct {
	ID      string    `json:"id"`
	Action  string    `json:"action"`
	By      string    `json:"by,omitempty"`
	Outcome string    `json:"outcome"`
	Code    string    `json:"code,omitempty"`
	At      time.Time `json:"at"`
}

func view(g *v1alpha1.GameRuntime) *Runtime {
	s := &g.Status
	r := &Runtime{
		GameID: g.Name, State: string(g.Spec.State), Phase: string(s.Phase), Image: g.Spec.Image,
		Ready:    meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady),
		Restarts: s.Restarts, CreatedAt: g.CreationTimestamp.UTC(), Deleting: !g.DeletionTimestamp.IsZero(),
		Revision: g.ResourceVersion, Generation: g.Generation, ObservedGeneration: s.ObservedGeneration,
	}
	if c := s.Container; c != nil {
		r.Endpoint, r.HostPorts = c.Endpoint, c.HostPorts
		r.ContainerID, r.ContainerState, r.ContainerImage, r.StartedAt = c.ID, string(c.State), c.Image, micro(c.StartedAt)
	}
	for _, c := range s.Conditions {
		r.Conditions = append(r.Conditions, Condition{
			Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.UTC(),
		})
	}
	if p := s.Pending; p != nil {
		r.Pending = &Pending{Reason: p.Reason, Message: p.Message, Failures: p.Failures, Since: p.Since.UTC(), NextTry: micro(p.NextTry)}
	}
	if t := s.LastTermination; t != nil {
		r.LastTermination = &Termination{
			Reason: string(t.Reason), Message: t.Message, ExitCode: t.ExitCode, Signal: t.Signal, FinishedAt: micro(t.FinishedAt),
		}
	}
	if o := s.LastOperation; o != nil {
		r.LastOperation = &Operation{ID: o.ID, Action: o.Action, By: o.By, Outcome: o.Outcome, Code: o.Code, At: o.At.UTC()}
	}
	return r
}

func micro(t *metav1.MicroTime) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}
