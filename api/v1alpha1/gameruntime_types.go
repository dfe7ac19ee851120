package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DesiredState says whether a game should run.
// +kubebuilder:validation:Enum=Running;Stopped
type DesiredState string

// The two states a record can ask for.
const (
	StateRunning DesiredState = "Running"
	StateStopped DesiredState = "Stopped"
)

// PullPolicy says when the game image is pulled.
// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
type PullPolicy string

// Pull policies, with Kubernetes' meaning. Always pulls before each create.
const (
	PullAlways       PullPolicy = "Always"
	PullIfNotPresent PullPolicy = "IfNotPresent"
	PullNever        PullPolicy = "Never"
)

// RestartPolicy says which exits are followed by a restart.
// +kubebuilder:validation:Enum=Always;OnFailure;Never
type RestartPolicy string

// Restart policies, with Kubernetes' meaning.
const (
	RestartAlways    RestartPolicy = "Always"
	RestartOnFailure RestartPolicy = "OnFailure"
	RestartNever     RestartPolicy = "Never"
)

// ReclaimPolicy says what happens to the state directory when the record is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type ReclaimPolicy string

// Reclaim policies. Nothing but the deletion of the record removes state.
const (
	ReclaimRetain ReclaimPolicy = "Retain"
	ReclaimDelete ReclaimPolicy = "Delete"
)

// DriftPolicy says what is done where the engine differs from the record.
// +kubebuilder:validation:Enum=Enforce;Observe
type DriftPolicy string

// Drift policies.
const (
	// DriftEnforce mends it.
	DriftEnforce DriftPolicy = "Enforce"
	// DriftObserve reports it and touches nothing.
	DriftObserve DriftPolicy = "Observe"
)

// UpdatePolicy is the distance that an image change may cross.
// +kubebuilder:validation:Enum=Patch;Minor;Any
type UpdatePolicy string

// Update policies, in semantic versioning's words.
const (
	UpdatePatch UpdatePolicy = "Patch"
	UpdateMinor UpdatePolicy = "Minor"
	// UpdateAny takes any image, and tags that are no semantic version.
	UpdateAny UpdatePolicy = "Any"
)

// UnhealthyPolicy says what becomes of a new container that does not get Ready.
// +kubebuilder:validation:Enum=Keep;Rollback
type UnhealthyPolicy string

// Unhealthy policies.
const (
	// UnhealthyKeep goes on with it, as with any other container.
	UnhealthyKeep UnhealthyPolicy = "Keep"
	// UnhealthyRollback brings the previous container back.
	UnhealthyRollback UnhealthyPolicy = "Rollback"
)

// Of the rules on the image, the first looks at the tag, the second at how far it
// moves: the new image has to contain ":1.2." or ":1." of the old one's version,
// if that is one. Patterns do it, as CEL's semver functions take no image apart,
// pass the moving tags 1 and 1.2, and are no part of Kubernetes before 1.34.
// Clients tell the two apart by their reasons, which become the types of causes.

// GameRuntimeSpec declares one game: one container with one state directory.
// +kubebuilder:validation:XValidation:rule="!has(self.ports) || self.ports.all(p, !has(p.hostPort) || p.hostPort == 0 || self.ports.exists_one(q, has(q.hostPort) && q.hostPort == p.hostPort && q.protocol == p.protocol))",message="host ports must be unique within a record",fieldPath=".ports"
// +kubebuilder:validation:XValidation:rule="self.update.policy == 'Any' || self.image.matches(':v?(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){2}(-[0-9A-Za-z-]+([.][0-9A-Za-z-]+)*)?(@.*)?$')",messageExpression="self.image + ' has no semantic version as its tag, such as :1.2.3 or :v1.2.3-rc.1 (a digest may follow it): give it one, or set update.policy to Any'",message="must have a semantic version as its tag, or update.policy must be Any",fieldPath=".image",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="self.update.policy == 'Any' || self.image.replace(':v', ':').contains(oldSelf.image.replace(':v', ':').find(':(0|[1-9][0-9]*)([.](0|[1-9][0-9]*)){2}(-[0-9A-Za-z-]+([.][0-9A-Za-z-]+)*)?(@.*)?$').find(self.update.policy == 'Minor' ? ':[0-9]+[.]' : ':[0-9]+[.][0-9]+[.]'))",messageExpression="'from ' + oldSelf.image + ' to ' + self.image + ' is further than update.policy ' + self.update.policy + ' goes: widen that in the same write'",message="is further from the present image than update.policy goes",fieldPath=".image",reason=FieldValueForbidden
type GameRuntimeSpec struct {
	// State is what the game should be: Running or Stopped. A stopped game
	// keeps its container and its state directory.
	// +kubebuilder:default=Running
	// +optional
	State DesiredState `json:"state,omitempty"`

	// Image is the game image: name[:tag][@digest]. The tag is a semantic version
	// unless update.policy is Any.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(\.([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(:[0-9]+)?/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$`
	Image string `json:"image"`

	// ImagePullPolicy says when the image is pulled.
	// +kubebuilder:default=IfNotPresent
	// +optional
	ImagePullPolicy PullPolicy `json:"imagePullPolicy,omitempty"`

	// Command replaces the image's entrypoint.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	// +listType=atomic
	// +optional
	Command []string `json:"command,omitempty"`

	// Args replaces the image's default arguments.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	Args []string `json:"args,omitempty"`

	// Env is added to the image's environment. GAME_STATE_PATH is set by
	// Runtime Manager to storage.mountPath.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=name
	// +optional
	Env []EnvVar `json:"env,omitempty"`

	// WorkingDir replaces the image's working directory.
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	WorkingDir string `json:"workingDir,omitempty"`

	// Ports that the game listens on. The first one is the game's endpoint.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Ports []Port `json:"ports,omitempty"`

	// Resources bound what the game may use.
	// +kubebuilder:default={}
	// +optional
	Resources Resources `json:"resources,omitzero"`

	// Storage is the game's state directory.
	// +kubebuilder:default={}
	// +optional
	Storage Storage `json:"storage,omitzero"`

	// Probes tell whether the game is healthy. A probe never acts by itself:
	// it changes what the reconciler observes.
	// +optional
	Probes Probes `json:"probes,omitzero"`

	// StopGracePeriodSeconds is how long the game may take to stop after
	// stopSignal, before it is killed.
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	// +optional
	StopGracePeriodSeconds *int32 `json:"stopGracePeriodSeconds,omitempty"`

	// StopSignal asks the game to stop.
	// +kubebuilder:default=SIGTERM
	// +kubebuilder:validation:Pattern=`^SIG[A-Z0-9+-]{1,12}$`
	// +optional
	StopSignal string `json:"stopSignal,omitempty"`

	// Lifecycle holds what is done around the game's own life.
	// +optional
	Lifecycle Lifecycle `json:"lifecycle,omitzero"`

	// RetainStoppedFor is how long the container of a game that does not run is
	// kept before it is removed. The state directory stays.
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must be a duration of 0s or more, such as 168h"
	// +kubebuilder:validation:Type=string
	// +optional
	RetainStoppedFor *metav1.Duration `json:"retainStoppedFor,omitempty"`

	// RestartPolicy says which exits are followed by a restart: all of them, those
	// but Completed, or none. A start that failed is no exit, and is tried again.
	// A game that went down with the engine or its host did not exit by itself: it
	// is started again under each policy, Never too, for as long as state is Running.
	// +kubebuilder:default=Always
	// +optional
	RestartPolicy RestartPolicy `json:"restartPolicy,omitempty"`

	// Backoff is the delay before a restart: it doubles from initial to max
	// with each exit, and starts again after the game ran for resetAfter.
	// +kubebuilder:default={}
	// +optional
	Backoff Backoff `json:"backoff,omitzero"`

	// Update says which image changes are allowed, and what becomes of one that
	// fails.
	// +kubebuilder:default={}
	// +optional
	Update Update `json:"update,omitzero"`

	// DriftPolicy says what is done where the engine differs from the record:
	// Enforce mends it, Observe reports it and touches nothing. A record that is
	// deleted is no drift: its container goes either way.
	// +kubebuilder:default=Enforce
	// +optional
	DriftPolicy DriftPolicy `json:"driftPolicy,omitempty"`

	// RestartedAt restarts the game once for each new value, in a new container,
	// as kubectl rollout restart does.
	// +optional
	RestartedAt *metav1.Time `json:"restartedAt,omitempty"`

	// SecurityContext loosens the defaults (all capabilities dropped,
	// no-new-privileges, read-only root file system, tmpfs on /tmp) as far as
	// a record may.
	// +optional
	SecurityContext SecurityContext `json:"securityContext,omitzero"`
}

// EnvVar is one environment variable of the game.
type EnvVar struct {
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_.-]*$`
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self != 'GAME_STATE_PATH'",message="GAME_STATE_PATH is set by Runtime Manager from storage.mountPath"
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	Value string `json:"value,omitempty"`
}

// Port is one port of the game.
type Port struct {
	// Name of the port, unique within the record.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`
	Name string `json:"name"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	ContainerPort int32 `json:"containerPort"`
	// +kubebuilder:validation:Enum=TCP;UDP
	// +kubebuilder:default=TCP
	// +optional
	Protocol string `json:"protocol,omitempty"`
	// HostPort publishes the port on the engine's host; 0 lets the engine
	// pick a free one. Without it the port is reachable on the engine's
	// network only.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	// +optional
	HostPort *int32 `json:"hostPort,omitempty"`
}

// Resources bound what the game may use. They change in place, without a restart.
type Resources struct {
	// +kubebuilder:default="1"
	// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self)) || quantity(string(self)).isGreaterThan(quantity('0'))",message="must be a quantity greater than 0, such as 500m or 2"
	// +optional
	CPU resource.Quantity `json:"cpu,omitzero"`
	// +kubebuilder:default="512Mi"
	// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self)) || quantity(string(self)).compareTo(quantity('6Mi')) >= 0",message="must be a quantity of at least 6Mi, such as 512Mi"
	// +optional
	Memory resource.Quantity `json:"memory,omitzero"`
	// Pids is the largest number of processes and threads.
	// +kubebuilder:default=512
	// +kubebuilder:validation:Minimum=1
	// +optional
	Pids int64 `json:"pids,omitempty"`
}

// Storage is the game's state directory: it outlives the container.
type Storage struct {
	// MountPath is where the game finds its state; it cannot be changed.
	// +kubebuilder:default=/var/lib/galaxy-game
	// +kubebuilder:validation:Pattern=`^/[^:]*[^:/]$`
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="mountPath is immutable"
	// +kubebuilder:validation:XValidation:rule="!self.contains('/../') && !self.endsWith('/..') && !self.contains('//')",message="must be a clean absolute path"
	// +optional
	MountPath string `json:"mountPath,omitempty"`
	// ReclaimPolicy says what happens to the state directory when the record is deleted.
	// +kubebuilder:default=Retain
	// +optional
	ReclaimPolicy ReclaimPolicy `json:"reclaimPolicy,omitempty"`
}

// Probes tell whether the game is healthy.
// +kubebuilder:validation:XValidation:rule="!has(self.startup) || self.startup.successThreshold <= 1",message="must be 1 for a startup probe",fieldPath=".startup.successThreshold"
// +kubebuilder:validation:XValidation:rule="!has(self.liveness) || self.liveness.successThreshold <= 1",message="must be 1 for a liveness probe",fieldPath=".liveness.successThreshold"
type Probes struct {
	// Startup holds the others back until it succeeds once; when it fails the
	// game is restarted.
	// +optional
	Startup *Probe `json:"startup,omitempty"`
	// Liveness makes a restart part of the plan when it fails.
	// +optional
	Liveness *Probe `json:"liveness,omitempty"`
	// Readiness moves the condition Ready, and nothing else.
	// +optional
	Readiness *Probe `json:"readiness,omitempty"`
	// Progress makes a restart part of the plan when a number that the game tells
	// stands still: the game answers, and is dead.
	// +optional
	Progress *ProgressProbe `json:"progress,omitempty"`
	// RestartAfterSeconds is how long a probe has to go on failing, once its
	// thresholds say that it does, before the game is restarted.
	// +kubebuilder:validation:Minimum=0
	// +optional
	RestartAfterSeconds int32 `json:"restartAfterSeconds,omitempty"`
	// MaxRestarts is how many times in a row failing probes may restart the game:
	// then it runs on as it is, until the record changes or is told to retry. A
	// run of backoff.resetAfter begins the count anew. Without it there is no limit.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MaxRestarts *int32 `json:"maxRestarts,omitempty"`
}

// Probe is one check, in Kubernetes' shape.
// +kubebuilder:validation:XValidation:rule="(has(self.httpGet) ? 1 : 0) + (has(self.tcpSocket) ? 1 : 0) + (has(self.exec) ? 1 : 0) + (has(self.grpc) ? 1 : 0) == 1",message="exactly one of httpGet, tcpSocket, exec and grpc must be set"
type Probe struct {
	// HTTPGet succeeds on an answer from 200 to 399.
	// +optional
	HTTPGet *HTTPGetAction `json:"httpGet,omitempty"`
	// TCPSocket succeeds when the port accepts a connection.
	// +optional
	TCPSocket *TCPSocketAction `json:"tcpSocket,omitempty"`
	// Exec succeeds when the program ends with 0.
	// +optional
	Exec *ExecAction `json:"exec,omitempty"`
	// GRPC succeeds when the game's grpc.health.v1.Health service says SERVING.
	// +optional
	GRPC *GRPCAction `json:"grpc,omitempty"`
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +optional
	InitialDelaySeconds int32 `json:"initialDelaySeconds,omitempty"`
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +optional
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +optional
	SuccessThreshold int32 `json:"successThreshold,omitempty"`
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +optional
	FailureThreshold int32 `json:"failureThreshold,omitempty"`
}

// HTTPGetAction asks the game over HTTP.
type HTTPGetAction struct {
	// +kubebuilder:default=/
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Path string `json:"path,omitempty"`
	// Port is a port number of the container.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// Scheme is HTTP or HTTPS. A certificate is not verified: it is the game that
	// is asked for, and not who it is.
	// +kubebuilder:validation:Enum=HTTP;HTTPS
	// +kubebuilder:default=HTTP
	// +optional
	Scheme string `json:"scheme,omitempty"`
	// HTTPHeaders are sent along. Host names the virtual host.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	HTTPHeaders []HTTPHeader `json:"httpHeaders,omitempty"`
}

// HTTPHeader is one header of a request.
type HTTPHeader struct {
	// +kubebuilder:validation:Pattern=`^[-A-Za-z0-9!#$%&'*+.^_|~]+$`
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^[^\x00-\x08\x0a-\x1f\x7f]*$`
	// +optional
	Value string `json:"value,omitempty"`
}

// GRPCAction asks the game's health service, grpc.health.v1.Health.
type GRPCAction struct {
	// Port is a port number of the container.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// Service is the name to ask for; empty is the server as a whole.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Service string `json:"service,omitempty"`
}

// ProgressProbe watches a number that moves while the game lives, such as its
// turn counter.
type ProgressProbe struct {
	// HTTPGet asks for an answer in JSON.
	HTTPGet HTTPGetAction `json:"httpGet"`
	// JSONPath finds the number in it, as in kubectl: {.turn}
	// +kubebuilder:validation:Pattern=`^[{].+[}]$`
	// +kubebuilder:validation:MaxLength=256
	JSONPath string `json:"jsonPath"`
	// WithinSeconds is how long the number may stand still. An answer that holds
	// none, or none at all, is no movement.
	// +kubebuilder:validation:Minimum=1
	WithinSeconds int32 `json:"withinSeconds"`
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +optional
	InitialDelaySeconds int32 `json:"initialDelaySeconds,omitempty"`
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +optional
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// TCPSocketAction connects to the game.
type TCPSocketAction struct {
	// Port is a port number of the container.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
}

// Lifecycle holds what is done around the game's own life.
type Lifecycle struct {
	// PreStop runs before each stop of ours. It shares the grace period with the
	// stop; that it fails is told, and holds nothing up.
	// +optional
	PreStop *LifecycleHandler `json:"preStop,omitempty"`
}

// LifecycleHandler is one thing to do.
// +kubebuilder:validation:XValidation:rule="(has(self.httpGet) ? 1 : 0) + (has(self.exec) ? 1 : 0) == 1",message="exactly one of httpGet and exec must be set"
type LifecycleHandler struct {
	// +optional
	HTTPGet *HTTPGetAction `json:"httpGet,omitempty"`
	// +optional
	Exec *ExecAction `json:"exec,omitempty"`
}

// ExecAction runs a program inside the container.
type ExecAction struct {
	// Command is the program and its arguments; there is no shell.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	// +listType=atomic
	Command []string `json:"command"`
}

// Update says which image changes are allowed, and what becomes of one that fails.
type Update struct {
	// Policy is the distance in semantic versions that an image change may
	// cross, up or down: Patch stays within one minor version, Minor within one
	// major version. Any takes every image, and tags that are no version. A write
	// is judged by the policy that it leaves.
	// +kubebuilder:default=Patch
	// +optional
	Policy UpdatePolicy `json:"policy,omitempty"`
	// OnUnhealthy says what becomes of a new container that does not get Ready:
	// Rollback brings the previous one back, and does not try the same
	// specification again until the record changes; Keep goes on with the new one.
	// +kubebuilder:default=Rollback
	// +optional
	OnUnhealthy UnhealthyPolicy `json:"onUnhealthy,omitempty"`
}

// Backoff is the delay before a restart.
type Backoff struct {
	// +kubebuilder:default="1s"
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="must be a duration greater than 0s, such as 1s"
	// +kubebuilder:validation:Type=string
	// +optional
	Initial metav1.Duration `json:"initial,omitzero"`
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="must be a duration greater than 0s, such as 5m"
	// +kubebuilder:validation:Type=string
	// +optional
	Max metav1.Duration `json:"max,omitzero"`
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="must be a duration greater than 0s, such as 10m"
	// +kubebuilder:validation:Type=string
	// +optional
	ResetAfter metav1.Duration `json:"resetAfter,omitzero"`
}

// SecurityContext loosens the defaults. No field can make a container
// privileged, mount a path of the host or join the host's namespaces.
type SecurityContext struct {
	// +kubebuilder:validation:Minimum=0
	// +optional
	RunAsUser *int64 `json:"runAsUser,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`
	// +kubebuilder:default=true
	// +optional
	ReadOnlyRootFilesystem *bool `json:"readOnlyRootFilesystem,omitempty"`
	// +optional
	Capabilities Capabilities `json:"capabilities,omitzero"`
}

// Capabilities given back to the game; all others are dropped.
type Capabilities struct {
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Enum=CHOWN;DAC_OVERRIDE;FOWNER;KILL;NET_BIND_SERVICE;SETGID;SETUID;SYS_NICE
	// +listType=set
	// +optional
	Add []string `json:"add,omitempty"`
}

// Phase is a one-word summary for people; conditions are the contract.
// +kubebuilder:validation:Enum=Pending;Pulling;Starting;Running;Stopping;Stopped;Failed;Removing
type Phase string

// Phases of a game.
const (
	PhasePending  Phase = "Pending"
	PhasePulling  Phase = "Pulling"
	PhaseStarting Phase = "Starting"
	PhaseRunning  Phase = "Running"
	PhaseStopping Phase = "Stopping"
	PhaseStopped  Phase = "Stopped"
	PhaseFailed   Phase = "Failed"
	PhaseRemoving Phase = "Removing"
)

// ContainerState is the recorded state of the game's container.
// +kubebuilder:validation:Enum=running;stopped;removed
type ContainerState string

// Recorded container states; pkg/plan names the four transitions between them.
const (
	ContainerRunning ContainerState = "running"
	ContainerStopped ContainerState = "stopped"
	ContainerRemoved ContainerState = "removed"
)

// TerminationReason is a cause of death.
// +kubebuilder:validation:Enum=Completed;Crashed;OOMKilled;StartFailedPort;StartFailedMount;StartFailedImage;StartFailedRuntime;StoppedByUs;StoppedByHand;ProbeFailed;EngineRestarted;HostRebooted;Unknown
type TerminationReason string

// Causes of death. The exit code alone tells few of them: 255 is unknown, and
// 137 is any SIGKILL: only the engine's own flag makes it OOMKilled.
const (
	TerminationCompleted TerminationReason = "Completed"
	TerminationCrashed   TerminationReason = "Crashed"
	TerminationOOMKilled TerminationReason = "OOMKilled"
	// A start that failed: its host port, its mount, its image (no such program
	// in it), or anything else that the runtime has against it.
	TerminationStartFailedPort    TerminationReason = "StartFailedPort"
	TerminationStartFailedMount   TerminationReason = "StartFailedMount"
	TerminationStartFailedImage   TerminationReason = "StartFailedImage"
	TerminationStartFailedRuntime TerminationReason = "StartFailedRuntime"
	TerminationStoppedByUs        TerminationReason = "StoppedByUs"
	// TerminationStoppedByHand is a stop or kill over the engine's API that was not ours.
	TerminationStoppedByHand TerminationReason = "StoppedByHand"
	TerminationProbeFailed   TerminationReason = "ProbeFailed"
	// TerminationEngineRestarted went down with the engine's daemon, and
	// TerminationHostRebooted with its host. Neither is the game's fault: its
	// back-off grows with neither, nor with a stop by hand.
	TerminationEngineRestarted TerminationReason = "EngineRestarted"
	TerminationHostRebooted    TerminationReason = "HostRebooted"
	TerminationUnknown         TerminationReason = "Unknown"
)

// GameRuntimeStatus is what Runtime Manager observed. Only it writes here.
type GameRuntimeStatus struct {
	// ObservedGeneration is the generation of the spec that this status tells of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	Phase Phase `json:"phase,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	Container *ContainerStatus `json:"container,omitempty"`
	// Restarts counts the starts that followed an exit nobody asked for.
	// +optional
	Restarts int32 `json:"restarts"`
	// +optional
	LastTermination *Termination `json:"lastTermination,omitempty"`
	// Pending says what the record waits for; absent when nothing waits.
	// +optional
	Pending *Pending `json:"pending,omitempty"`
	// Drift is where the engine differs from the record, by field.
	// +listType=atomic
	// +optional
	Drift []Drift `json:"drift,omitempty"`
	// Rollback tells of a specification that was tried, failed and is not tried
	// again until the record changes.
	// +optional
	Rollback *Rollback `json:"rollback,omitempty"`
	// Retried is the value of the annotation runtime.galaxy.io/retry that was
	// last obeyed.
	// +optional
	Retried string `json:"retried,omitempty"`
	// LastOperation is the last change made to the game's container.
	// +optional
	LastOperation *Operation `json:"lastOperation,omitempty"`
	// Health is the last verdict of each probe.
	// +listType=map
	// +listMapKey=probe
	// +optional
	Health []ProbeStatus `json:"health,omitempty"`
}

// ContainerStatus is the game's container as last observed.
type ContainerStatus struct {
	// +optional
	ID string `json:"id,omitempty"`
	// +optional
	Name string `json:"name,omitempty"`
	// +optional
	Image string `json:"image,omitempty"`
	// ImageDigest is the engine's id of the image that the container runs.
	// +optional
	ImageDigest string `json:"imageDigest,omitempty"`
	// RepoDigest is the same image as its registry names it: name@sha256:…;
	// empty for one that was never pulled.
	// +optional
	RepoDigest string `json:"repoDigest,omitempty"`
	// +optional
	State ContainerState `json:"state,omitempty"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// StartedBy is the id of the operation of ours that began its present or last
	// run; empty if that was somebody else's doing.
	// +optional
	StartedBy string `json:"startedBy,omitempty"`
	// UnexpectedStarts counts the runs of this container that somebody else began.
	// +optional
	UnexpectedStarts int32 `json:"unexpectedStarts,omitempty"`
	// Endpoint is where the game's first port is reached on the engine's
	// network: http://<alias>:<port>.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
	// HostPorts are the ports published on the engine's host, by port name.
	// +optional
	HostPorts map[string]int32 `json:"hostPorts,omitempty"`
	// Engine is the id of the container engine.
	// +optional
	Engine string `json:"engine,omitempty"`
	// SpecHash is a digest of the specification that the container was made from.
	// +optional
	SpecHash string `json:"specHash,omitempty"`
}

// Termination is how a container ended.
type Termination struct {
	Reason TerminationReason `json:"reason"`
	// +optional
	Message string `json:"message,omitempty"`
	// +optional
	ExitCode int32 `json:"exitCode"`
	// Signal is the one that ended the game, such as SIGKILL, as far as the exit
	// code or the engine tells.
	// +optional
	Signal string `json:"signal,omitempty"`
	// Operation is the id of the operation of ours that ended it.
	// +optional
	Operation string `json:"operation,omitempty"`
	// Disappeared says that the container was gone, and no operation of ours
	// removed it: nothing tells how it ended.
	// +optional
	Disappeared bool `json:"disappeared,omitempty"`
	// Log holds the last lines that the game wrote.
	// +optional
	Log string `json:"log,omitempty"`
	// +optional
	ContainerID string `json:"containerID,omitempty"`
	// +optional
	ImageDigest string `json:"imageDigest,omitempty"`
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.MicroTime `json:"finishedAt,omitempty"`
	// InARow counts the exits nobody asked for without a run of
	// backoff.resetAfter between them: the restart back-off grows with it, and
	// survives a restart of the manager here.
	// +optional
	InARow int32 `json:"inARow,omitempty"`
	// ByProbeInARow counts those of them that failing probes made us end, until
	// a run of backoff.resetAfter or a changed spec.
	// +optional
	ByProbeInARow int32 `json:"byProbeInARow,omitempty"`
	// RestartedAt is when the game ran again after it.
	// +optional
	RestartedAt *metav1.MicroTime `json:"restartedAt,omitempty"`
	// ObservedGeneration is the record's generation at the exit: a changed
	// spec is tried at once.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Settled says that the record asked for Stopped since: the next start is a
	// wish, and no matter of the restart policy.
	// +optional
	Settled bool `json:"settled,omitempty"`
}

// DriftKind is a way in which the engine differs from the records.
// +kubebuilder:validation:Enum=ContainerMissing;ContainerExited;UnrecordedContainer;StateMismatch;SpecMismatch;DuplicateContainer;ImageMoved
type DriftKind string

// Kinds of drift.
const (
	// DriftContainerMissing: the recorded container vanished.
	DriftContainerMissing DriftKind = "ContainerMissing"
	// DriftContainerExited: the recorded container ended.
	DriftContainerExited DriftKind = "ContainerExited"
	// DriftUnrecordedContainer: a container of ours by label has no record.
	DriftUnrecordedContainer DriftKind = "UnrecordedContainer"
	// DriftStateMismatch: it runs and should not, or the other way round.
	DriftStateMismatch DriftKind = "StateMismatch"
	// DriftSpecMismatch: a field of the container is not what the record says.
	DriftSpecMismatch DriftKind = "SpecMismatch"
	// DriftDuplicateContainer: the game has more than one container.
	DriftDuplicateContainer DriftKind = "DuplicateContainer"
	// DriftImageMoved: the record's image names another image now than the one
	// that the container runs. Nothing is done about it before the next create.
	DriftImageMoved DriftKind = "ImageMoved"
)

// DriftKinds are all of them.
var DriftKinds = []DriftKind{
	DriftContainerMissing, DriftContainerExited, DriftUnrecordedContainer, DriftStateMismatch, DriftSpecMismatch,
	DriftDuplicateContainer, DriftImageMoved,
}

// Drift is one difference between the engine and a record.
type Drift struct {
	Kind DriftKind `json:"kind"`
	// Field is the path in the record's spec.
	// +optional
	Field string `json:"field,omitempty"`
	// +optional
	Desired string `json:"desired,omitempty"`
	// +optional
	Actual string `json:"actual,omitempty"`
	// FirstSeen is when it was first found.
	FirstSeen metav1.Time `json:"firstSeen"`
	// Action is what would mend it.
	// +optional
	Action string `json:"action,omitempty"`
}

// Rollback tells of a specification that failed.
type Rollback struct {
	// SpecHash is the digest of the specification that failed.
	SpecHash string `json:"specHash"`
	// Image is the image of that specification.
	// +optional
	Image string `json:"image,omitempty"`
	// Message says how it failed.
	// +optional
	Message string      `json:"message,omitempty"`
	At      metav1.Time `json:"at"`
}

// Operation is one change made, or tried, to a game's container.
type Operation struct {
	// ID is on the container as a label, and in the operation log.
	ID string `json:"id"`
	// Action is what was done: create, start, stop, remove, rename, update (its
	// resources) or remove-state.
	Action string `json:"action"`
	// By is who asked for the record as it was then: the field manager that wrote
	// its spec last.
	// +optional
	By string `json:"by,omitempty"`
	// +kubebuilder:validation:Enum=Succeeded;Failed;Unknown
	Outcome string `json:"outcome"`
	// Code is the error code of an operation that did not succeed.
	// +optional
	Code string `json:"code,omitempty"`
	// +optional
	Message string      `json:"message,omitempty"`
	At      metav1.Time `json:"at"`
}

// Actions of operations.
const (
	ActionCreate      = "create"
	ActionStart       = "start"
	ActionStop        = "stop"
	ActionRemove      = "remove"
	ActionRename      = "rename"
	ActionUpdate      = "update"
	ActionRemoveState = "remove-state"
)

// Outcomes of an operation.
const (
	OperationSucceeded = "Succeeded"
	OperationFailed    = "Failed"
	OperationUnknown   = "Unknown"
)

// Pending says what a record waits for.
type Pending struct {
	Reason string `json:"reason"`
	// +optional
	Message string `json:"message,omitempty"`
	// Failures counts the actions that failed in a row: the back-off grows
	// with it, and survives a restart of the manager here.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// Since is when the wait began.
	Since metav1.Time `json:"since"`
	// NextTry is when it is tried again without anybody doing anything.
	// +optional
	NextTry *metav1.MicroTime `json:"nextTry,omitempty"`
	// Deadline is when the action in hand is given up.
	// +optional
	Deadline *metav1.Time `json:"deadline,omitempty"`
}

// Names of the probes and their verdicts.
const (
	ProbeStartup   = "startup"
	ProbeLiveness  = "liveness"
	ProbeReadiness = "readiness"
	ProbeProgress  = "progress"
	// ProbeInspect is the verdict of the image's own HEALTHCHECK, which the engine
	// runs. It is told, and nothing is done about it.
	ProbeInspect = "inspect"

	VerdictUnknown    = "Unknown"
	VerdictSucceeding = "Succeeding"
	VerdictFailing    = "Failing"
)

// ProbeStatus is the verdict of one probe, after its thresholds.
type ProbeStatus struct {
	// +kubebuilder:validation:Enum=startup;liveness;readiness;progress;inspect
	Probe string `json:"probe"`
	// +kubebuilder:validation:Enum=Unknown;Succeeding;Failing
	Verdict string `json:"verdict"`
	// +optional
	Message string `json:"message,omitempty"`
	// Since is when the verdict last changed.
	// +optional
	Since *metav1.MicroTime `json:"since,omitempty"`
	// FailedAt is when it last began to fail, in this run of the game or in one
	// before it.
	// +optional
	FailedAt *metav1.MicroTime `json:"failedAt,omitempty"`
}

// GameRuntime is one game: one container with a state directory that is never
// lost. Its name is the game's id.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gr,categories=all;galaxy
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="Restarts",type=integer,JSONPath=`.status.restarts`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.status.container.endpoint`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Container",type=string,priority=1,JSONPath=`.status.container.name`
// +kubebuilder:printcolumn:name="Engine",type=string,priority=1,JSONPath=`.status.container.engine`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 lower-case letters, digits and hyphens",fieldPath=".metadata"
type GameRuntime struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec GameRuntimeSpec `json:"spec"`
	// +optional
	Status GameRuntimeStatus `json:"status,omitzero"`
}

// GameRuntimeList is a list of games.
// +kubebuilder:object:root=true
type GameRuntimeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GameRuntime `json:"items"`
}
