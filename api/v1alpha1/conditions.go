package v1alpha1

// Condition types of a GameRuntime. They follow Kubernetes' conventions: each
// is an observation, carries the generation that it was made at, and is always
// present once the record was reconciled.
const (
	// ConditionReady is True while the game serves: its container runs and its
	// readiness probe, if it has one, succeeds.
	ConditionReady = "Ready"
	// ConditionProgressing is True while Runtime Manager still has something
	// to do, or waits to do it again.
	ConditionProgressing = "Progressing"
	// ConditionHealthy is the verdict of the probes alone.
	ConditionHealthy = "Healthy"
	// ConditionInSync is True while the plan is empty.
	ConditionInSync = "InSync"
	// ConditionEngineReachable is False while the container engine does not answer.
	ConditionEngineReachable = "EngineReachable"
)

// Reasons of conditions, of status.pending and of Events.
const (
	ReasonReady             = "Ready"
	ReasonInSync            = "InSync"
	ReasonPlanned           = "ActionPlanned"
	ReasonBackOff           = "BackOff"
	ReasonStopped           = "Stopped"
	ReasonCompleted         = "Completed"
	ReasonRestartPolicy     = "RestartPolicyForbids"
	ReasonProbing           = "WaitingForProbes"
	ReasonProbeFailed       = "ProbeFailed"
	ReasonProbesSucceeded   = "ProbesSucceeded"
	ReasonNoProbes          = "NoProbes"
	ReasonNotRunning        = "ContainerNotRunning"
	ReasonEngineReachable   = "EngineAnswers"
	ReasonEngineUnreachable = "EngineUnreachable"
	ReasonEngineNotSeen     = "EngineNotSeenYet"
	ReasonDeleting          = "Deleting"
	ReasonPaused            = "Paused"
	ReasonObserved          = "DriftObserved"

	ReasonPulling       = "PullingImage"
	ReasonPulled        = "ImagePulled"
	ReasonCreating      = "CreatingContainer"
	ReasonCreated       = "ContainerCreated"
	ReasonStarting      = "StartingContainer"
	ReasonStarted       = "ContainerStarted"
	ReasonStopping      = "StoppingContainer"
	ReasonRemoving      = "RemovingContainer"
	ReasonRemoved       = "ContainerRemoved"
	ReasonUpdating      = "UpdatingResources"
	ReasonUpdated       = "ResourcesUpdated"
	ReasonRemovingState = "RemovingState"
	ReasonStateRemoved  = "StateRemoved"
	ReasonExited        = "ContainerExited"
	ReasonEnded         = "ContainerStopped"
	ReasonVanished      = "ContainerDisappeared"

	ReasonImagePullFailed  = "ImagePullFailed"
	ReasonImageNotPresent  = "ImageNotPresent"
	ReasonNameConflict     = "NameConflict"
	ReasonPortConflict     = "PortConflict"
	ReasonStateUnavailable = "StateDirectoryUnavailable"
	ReasonStartFailed      = "StartFailed"
	ReasonSpecRejected     = "SpecRejectedByEngine"
	ReasonEngineError      = "EngineError"
	ReasonEngineTimeout    = "EngineTimeout"
)
