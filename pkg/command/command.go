package command

import (
	"context"
	"encoding/json"
	"time"

	"k8s.io/client-go/dynamic"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// ManagerPrefix begins the field manager of every caller: galaxy-lobby writes what
// lobby wishes, and stands in the history as who asked.
const ManagerPrefix = "galaxy-"

// Wish is what every wish says.
type Wish struct {
	// Game is the game's id, a DNS label.
	Game string
	// Caller is the service that asks, a DNS label.
	Caller string
	// ID makes a wish one: delivered again, it is not carried out again. Optional;
	// at most 128 printable characters of ASCII, no blanks.
	ID string
	// Revision is the only one of the record that the wish is meant for, as its
	// resourceVersion tells it. Optional: any.
	Revision string
}

// Start asks for a game to run, and declares it where it has no record.
type Start struct {
	Wish
	// Image is the game image. Optional where the record names one already: a game
	// without is refused with invalid_request, and the field image.
	Image string
	// Spec is a JSON object of fields of GameRuntimeSpec: all that the caller
	// declares. What it declared with an earlier Spec and now does not, it gives up.
	// Optional: without it nothing but state and image changes.
	Spec json.RawMessage
}

// Restart asks for one restart of a game that is to run.
type Restart struct {
	Wish
	// At is when the wish was first heard of, by our own clock: a game restarted
	// since is not restarted again. Optional: now. Records count in seconds, so two
	// restarts within one are one where both name a time.
	At time.Time
}

// Patch asks for another image, as far away as the record's update policy goes.
type Patch struct {
	Wish
	Image string
}

// Commander writes wishes into the records of one namespace.
type Commander struct {
	records dynamic.ResourceInterface
}

// Records is the resource that wishes are written to.
var Records = v1alpha1.GroupVersion.WithResource("gameruntimes")

// New returns a Commander for the games of a namespace. The client is asked for
// what is stored, never for a cache.
func New(client dynamic.Interface, namespace string) *Commander {
	return &Commander{records: client.Resource(Records).Namespace(namespace)}
}

// Start has a game run.
func (c *Commander) Start(ctx context.Context, wish Start) (Answer, error) { return Answer{}, nil }

// Stop has a game stopped. Its record, its container and its state stay.
func (c *Commander) Stop(ctx context.Context, wish Wish) (Answer, error) { return Answer{}, nil }

// Restart has a running game restarted in a new container with the same state.
func (c *Commander) Restart(ctx context.Context, wish Restart) (Answer, error) { return Answer{}, nil }

// Patch gives a game another image.
func (c *Commander) Patch(ctx context.Context, wish Patch) (Answer, error) { return Answer{}, nil }

// CleanUp deletes a game's record. Its container goes with it, and its state where
// the record's reclaim policy says so. A game without a record is cleaned up.
func (c *Commander) CleanUp(ctx context.Context, wish Wish) (Answer, error) { return Answer{}, nil }
