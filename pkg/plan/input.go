package plan

import (
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// Settings are what the decision knows of the installation.
type Settings struct {
	// Installation is the id on every container's label.
	Installation string
	// Network is the engine network that the games share.
	Network string
	// StateRoot holds the state directories, <namespace>/<name> below it, as a
	// path of the engine's host.
	StateRoot string
	// User runs games whose record names none; empty is the image's own user.
	User string
	// DriftPolicy is the whole manager's, beside the record's own.
	DriftPolicy v1alpha1.DriftPolicy
}

// Input is all that a decision rests on.
type Input struct {
	Record *v1alpha1.GameRuntime
	View   engine.View
	Fleet  engine.Fleet
	// Health holds the verdicts of the probes on the running container.
	Health []v1alpha1.ProbeStatus
	// Image tells of the game image; it is looked up only when a container is
	// to be made, see NeedsImage.
	Image Image
	// StateExists says whether the state directory is there; it is looked up
	// only when the record is being deleted, or was made from a container.
	StateExists bool
	// ImageNow is the engine's id of what the record's image names by now; empty
	// if that is not known.
	ImageNow string
	// NamespaceDriftPolicy is what the record's namespace says beside the record.
	NamespaceDriftPolicy v1alpha1.DriftPolicy
	// Brake holds while this game's container vanished together with many others;
	// nil otherwise.
	Brake *Brake
	// Log is what the game wrote last before an end that the record does not tell
	// yet, see Ended.
	Log string
	// InHand is slow work that goes on beside the queue.
	InHand *Work
	// Intents are what we were about to do to the game's containers, or did, as
	// far as it may still explain something; oldest first.
	Intents []Intent
	// Last is what was done since the status was last written, if anything.
	Last     *Outcome
	Settings Settings
	Now      time.Time
}

// Image is what is known of a game image before a container is made from it.
type Image struct {
	// Present says that the engine has it.
	Present bool
	// Pulled says that it was pulled for the container to be made.
	Pulled bool
	// User is the image's own user, whom the state directory belongs to where
	// the record names none.
	User string
}

// Work is slow work in hand: an image pull or a stop.
type Work struct {
	Action Action
	// Operation is the id of its intent; empty for what has none.
	Operation string
	Since     time.Time
	Deadline  time.Time
	// Queued says that it has not begun: it waits for its turn.
	Queued bool
}

// String says what goes on.
func (w Work) String() string {
	if w.Queued {
		return "wait for a turn to " + w.Action.String()
	}
	return w.Action.String()
}

// Outcome is how an action ended.
type Outcome struct {
	Action Action
	// Operation is the id of its intent; empty for what has none.
	Operation string
	Err       error
}
