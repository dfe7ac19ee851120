package engine

import (
	"cmp"
	"fmt"
	"time"
)

// State is the state of a container as the engine tells it.
type State string

// Container states. Restarting cannot be: the engine's own restart policy is
// always "no".
const (
	StateCreated  State = "created"
	StateRunning  State = "running"
	StatePaused   State = "paused"
	StateExited   State = "exited"
	StateRemoving State = "removing"
	StateDead     State = "dead"
)

// Container is what the engine says of one container of ours.
type Container struct {
	ID   string
	Name string
	// Installation owns the container; empty if it is not one of ours.
	Installation string
	Game         GameID
	// UID, Operation, SpecHash and Generation are read from the container's labels.
	UID        string
	Operation  string
	SpecHash   string
	Generation int64
	State      State
	// Image is the reference the container was created with, ImageID the
	// engine's id of the image it runs.
	Image   string
	ImageID string
	// RepoDigest is that image as its registry names it: name@sha256:…; empty
	// if it never was in one. An engine tells it of images only: a picture of
	// both completes it.
	RepoDigest string
	CreatedAt  time.Time
	// StartedAt is zero if it never started.
	StartedAt time.Time
	// Exit is set once the container ended, or failed to start.
	Exit *Exit
	// IP is the container's address on the installation's network while it runs.
	IP string
	// HostPorts are the published ports, by container port.
	HostPorts map[PortKey]int32
	Resources Resources
	// Made is what the container was made from as the engine shows it now, with
	// the image's own defaults mixed in. Env, AddCapabilities and Ports are
	// sorted. It has no labels, and no network while it is disconnected from its
	// own. It is shared: nobody changes it.
	Made *ContainerSpec
	// Beyond names what the container has and no ContainerSpec asks for, such as
	// "privileged". One that Create made has nothing of the kind, unless somebody
	// changed it since.
	Beyond []string
	// SelfRestarts says that the engine restarts it by itself: somebody gave it a
	// restart policy, which none of ours has.
	SelfRestarts bool
	// Signal is the last one that somebody sent over the engine's API in this
	// run, us included, such as SIGTERM. It is known from events alone, and empty
	// where they were lost.
	Signal string
	// Health is the verdict of the image's own HEALTHCHECK in this run; nil
	// without one, and while the container does not run.
	Health *Health
	// Inspected is false for what only a list told: then StartedAt, Exit,
	// IP, HostPorts, Resources and Made are missing, and Health but for an unhealthy
	// State.
	Inspected bool
	// Unresponsive says that the engine has not answered for this container for
	// a while: what is known of it is old.
	Unresponsive bool
}

// HealthState is the verdict of an image's own HEALTHCHECK.
type HealthState string

// Verdicts of a HEALTHCHECK.
const (
	HealthStarting  HealthState = "starting"
	HealthHealthy   HealthState = "healthy"
	HealthUnhealthy HealthState = "unhealthy"
)

// Health is what an image's own HEALTHCHECK says. It changes with the verdict
// alone, not with each check.
type Health struct {
	State HealthState
	// Output is what a check wrote that made the verdict unhealthy, at most
	// MaxText, on one line; empty otherwise. An engine forgets it after a few more
	// checks, and then tells a later one's: a picture keeps what it was told first.
	Output string
}

// PortKey is a port of a container.
type PortKey struct {
	Port int32
	// Protocol is tcp or udp.
	Protocol string
}

// Exit is how a container ended. After a start that failed Error says why, and
// FinishedAt is the last run's, or zero if there was none.
type Exit struct {
	// Code is the exit code; 137 is any SIGKILL, 255 unknown. After a start
	// that failed it is 126 or 127 (the program), 128 (anything else), or
	// still the last run's: only Error tells a failed start for sure.
	Code      int32
	OOMKilled bool
	Error     string
	// StartKind is the kind of failure that Error tells: PortConflict,
	// MountFailed, ProgramFailed or StartFailed.
	StartKind  Kind
	FinishedAt time.Time
}

// Resources bound a container. Zero is unlimited.
type Resources struct {
	// NanoCPUs is in units of 1e-9 CPUs.
	NanoCPUs int64
	// MemoryBytes bounds memory; swap is off.
	MemoryBytes int64
	Pids        int64
}

// Image is a local image.
type Image struct {
	ID string
	// User, Entrypoint, Args, Env and WorkingDir are the image's defaults, for a
	// container whose specification is silent. Env is sorted.
	User       string
	Entrypoint []string
	Args       []string
	Env        []string
	WorkingDir string
	// Tags are the names that it has now, as the engine writes them.
	Tags []string
	// RepoDigests are its names in the registries it came from or went to:
	// name@sha256:…. It keeps them when a tag moves on to another image.
	RepoDigests []string
}

// PullProgress is how far a pull is. Total grows while the engine learns of the
// image's layers; both are 0 before it knows any.
type PullProgress struct {
	// Done and Total are bytes, as they travel.
	Done  int64
	Total int64
}

// String tells it to people: 120 of 480 MB, or nothing yet.
func (p PullProgress) String() string {
	const mega = 1_000_000
	if p.Total == 0 {
		return "nothing yet"
	}
	return fmt.Sprintf("%d of %d MB", (p.Done+mega/2)/mega, (p.Total+mega/2)/mega)
}

// ContainerSpec is everything a container is created from. What is not here
// is a fixed default of the adapter: all capabilities dropped,
// no-new-privileges, restart policy "no", tmpfs on /tmp.
type ContainerSpec struct {
	Name       string
	Labels     map[string]string
	Image      string
	Entrypoint []string
	Args       []string
	// Env is in the form NAME=value, sorted by name.
	Env        []string
	WorkingDir string
	// User is uid or uid:gid; empty is the image's own.
	User            string
	ReadOnlyRoot    bool
	AddCapabilities []string
	StopSignal      string
	Ports           []PortSpec
	Resources       Resources
	// Network is the installation's network, Alias the game's name on it.
	Network string
	Alias   string
	// StateSource is the state directory on the engine's host, StateTarget
	// where the game finds it.
	StateSource string
	StateTarget string
}

// PortSpec is a port to expose, and to publish when HostPort is not nil.
type PortSpec struct {
	PortKey
	// HostPort 0 lets the engine pick.
	HostPort *int32
}

// Compare orders ports: by number, by protocol, those not published first.
func (p PortSpec) Compare(other PortSpec) int {
	host := func(p PortSpec) int32 {
		if p.HostPort == nil {
			return -1
		}
		return *p.HostPort
	}
	return cmp.Or(
		cmp.Compare(p.Port, other.Port), cmp.Compare(p.Protocol, other.Protocol), cmp.Compare(host(p), host(other)),
	)
}

// View is all that is known of one game on the engine.
type View struct {
	// Seen is false until the engine was listed once since the manager started.
	Seen bool
	// Containers carries every container with the game's labels, oldest
	// first. More than one is a fault to mend.
	Containers []Container
	// At is when this was observed.
	At time.Time
}

// Fleet is what is known of the engine as a whole.
type Fleet struct {
	// Reachable is false while the engine does not answer; Reason says how.
	Reachable bool
	Reason    string
	// Since is when Reachable last changed.
	Since time.Time
	// Gone and Back bound the engine's last absence: when it last answered before,
	// and the first list after. What ended in between may have gone down with it.
	// Both are zero if it was never away.
	Gone time.Time
	Back time.Time
	Info Info
}
