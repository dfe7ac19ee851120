// Package engine says what a container engine is to Runtime Manager: the facts
// it tells, the verbs it obeys and the kinds of failure it answers with. It
// holds words only: no goroutine, no I/O. pkg/engine/docker speaks them to
// Docker, pkg/engine/enginetest simulates them and holds the suite that both
// must pass.
package engine

import (
	"context"
	"time"
)

// Reader asks; it cannot change anything. Every call honours its context's
// deadline and answers with an *Error.
type Reader interface {
	// Info tells who the engine is. It is the check of whether it answers.
	Info(ctx context.Context) (Info, error)
	// List returns every container of the installation, in any state. It is
	// one call, and as shallow as the engine's own list: a container whose
	// lock is held does not delay it. Exit, Resources, IP and HostPorts may
	// be missing; Inspect has them. Of Health it tells what is unhealthy, and not why.
	List(ctx context.Context, installation string) ([]Container, error)
	// Inspect returns all facts of one container, by id or by name, or
	// NotFound. The container may be somebody else's: Installation tells.
	Inspect(ctx context.Context, idOrName string) (Container, error)
	// InspectImage returns a local image, or NotFound.
	InspectImage(ctx context.Context, ref string) (Image, error)
	// Images returns every local image that a container can be made from. It is
	// one call. Their User is missing; InspectImage has it.
	Images(ctx context.Context) ([]Image, error)
	// Logs returns the last lines that a container wrote, both of its streams as
	// they came. It is 4 KiB at most, and text whatever the game wrote.
	Logs(ctx context.Context, id string, lines int) (string, error)
	// Events calls handle for each event of the installation's containers
	// until the stream or the context ends, and returns why. With a non-zero
	// since, events from then on are replayed as far as the engine remembers
	// them. subscribed is called once the stream stands: what happens after
	// it is delivered or the stream ends.
	Events(ctx context.Context, installation string, since time.Time, subscribed func(), handle func(Event)) error
}

// Engine is a Reader that acts. Every verb is idempotent in its outcome: to
// stop or remove what is gone succeeds, to start what runs succeeds.
type Engine interface {
	Reader
	// EnsureNetwork makes the installation's network if it is missing, and joins it.
	EnsureNetwork(ctx context.Context, name, installation string) error
	// JoinNetwork connects the container that this very process runs in, if it is
	// one of the engine's, to the installation's network, if that is there: from
	// outside of it the games are not reached. For any other process it is nothing.
	JoinNetwork(ctx context.Context, name string) error
	// PullImage fetches an image from its registry, with the credentials that the
	// engine's adapter has for it by then. A failure inside the progress stream is
	// a failure. progress, if it is not nil, is called at every sign of life, one
	// call at a time; it must not block.
	PullImage(ctx context.Context, ref string, progress func(PullProgress)) error
	// Create makes a container, stopped, and returns its id. A name in use
	// is NameConflict, a missing image NotFound, a missing state directory
	// MountFailed; a missing network is for Start to find.
	Create(ctx context.Context, spec ContainerSpec) (string, error)
	// Start starts a created or stopped container. What the engine has against
	// it is PortConflict, MountFailed, ProgramFailed or StartFailed.
	Start(ctx context.Context, id string) error
	// Stop sends the signal and kills after the grace period. An engine may
	// know no other signal than the one the container was created with. When
	// the context ends first the outcome is unknown: the engine goes on.
	Stop(ctx context.Context, id string, signal string, grace time.Duration) error
	// Exec runs a program inside a running container, as the game's user, and
	// waits for its end. One that cannot be run ends with 126 or 127, as in a
	// shell. When the context ends first the program goes on: an engine has no
	// way to end it.
	Exec(ctx context.Context, id string, command []string) (ExecResult, error)
	// Rename gives a container another name. A name in use is NameConflict.
	Rename(ctx context.Context, id, name string) error
	// Remove deletes a container and its anonymous volumes, running or not.
	Remove(ctx context.Context, id string) error
	// UpdateResources changes the limits of a container in place, and takes from
	// it any restart policy of the engine's own.
	UpdateResources(ctx context.Context, id string, resources Resources) error
}

// ExecResult is how a program ended that was run inside a container.
type ExecResult struct {
	Code int32
	// Output is what it wrote last, as Logs tells a container's.
	Output string
}

// MaxText is how much of a game's output is ever told, in bytes.
const MaxText = 4 << 10

// Info is who the engine is.
type Info struct {
	// ID is the engine's own identity; it survives its restarts.
	ID string
	// Name is the engine's host, for people.
	Name    string
	Version string
	// BootedAt is when its host started; zero if the engine is not on this host.
	BootedAt time.Time
}

// GameID names a game: the namespace and name of its record.
type GameID struct {
	Namespace string
	Name      string
}

// String returns namespace/name.
func (g GameID) String() string { return g.Namespace + "/" + g.Name }

// Event is a hint that a container may have changed. It sets no fact: who
// hears it looks.
type Event struct {
	ContainerID string
	Game        GameID
	// Action is the engine's word: start, kill, die, oom, destroy, …
	Action string
	// Signal is what a kill sent, such as SIGTERM; empty if the engine does not say.
	Signal string
	At     time.Time
}
