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

// Condition types of a DriftReport.
const (
	// ConditionReachable is False while the container engine does not answer.
	ConditionReachable = "Reachable"
	// ConditionFrozen is True while containers that vanished together are not
	// recreated.
	ConditionFrozen = "Frozen"
)

// Reasons of conditions, of status.pending and of Events.
const (
	ReasonReady           = "Ready"
	ReasonInSync          = "InSync"
	ReasonPlanned         = "ActionPlanned"
	ReasonBackOff         = "BackOff"
	ReasonStopped         = "Stopped"
	ReasonCompleted       = "Completed"
	ReasonRestartPolicy   = "RestartPolicyForbids"
	ReasonProbing         = "WaitingForProbes"
	ReasonProbeFailed     = "ProbeFailed"
	ReasonProbesSucceeded = "ProbesSucceeded"
	ReasonNoProbes        = "NoProbes"
	// ReasonUnhealthy: a probe fails, and its restart is not due yet.
	ReasonUnhealthy = "Unhealthy"
	// ReasonProbeRestartLimit: failing probes restarted the game as often as the
	// record lets them.
	ReasonProbeRestartLimit = "ProbeRestartLimit"
	// ReasonHealthcheckFailed: the image's own HEALTHCHECK fails.
	ReasonHealthcheckFailed = "HealthcheckFailed"
	ReasonProbeRecovered    = "ProbeRecovered"
	// ReasonUnexpectedStart: somebody else started the container.
	ReasonUnexpectedStart   = "UnexpectedStart"
	ReasonNotRunning        = "ContainerNotRunning"
	ReasonEngineReachable   = "EngineAnswers"
	ReasonEngineUnreachable = "EngineUnreachable"
	ReasonEngineNotSeen     = "EngineNotSeenYet"
	ReasonDeleting          = "Deleting"
	ReasonPaused            = "Paused"
	ReasonObserved          = "DriftObserved"
	// ReasonMassVanish freezes recreation: many containers of the engine vanished
	// together.
	ReasonMassVanish = "MassVanish"
	ReasonNotFrozen  = "NotFrozen"
	// ReasonRolledBack: the specification failed and the previous container is back.
	ReasonRolledBack = "RolledBack"
	// ReasonProving: a new container has to prove itself before the previous one goes.
	ReasonProving = "ProvingNewContainer"
	// ReasonUnresponsive: the engine does not answer for this container.
	ReasonUnresponsive = "EngineUnresponsive"

	ReasonPulling       = "PullingImage"
	ReasonPulled        = "ImagePulled"
	ReasonCreating      = "CreatingContainer"
	ReasonCreated       = "ContainerCreated"
	ReasonStarting      = "StartingContainer"
	ReasonStarted       = "ContainerStarted"
	ReasonStopping      = "StoppingContainer"
	ReasonRemoving      = "RemovingContainer"
	ReasonRemoved       = "ContainerRemoved"
	ReasonRenaming      = "RenamingContainer"
	ReasonUpdating      = "UpdatingResources"
	ReasonUpdated       = "ResourcesUpdated"
	ReasonRemovingState = "RemovingState"
	ReasonStateRemoved  = "StateRemoved"
	ReasonExited        = "ContainerExited"
	ReasonEnded         = "ContainerStopped"
	ReasonVanished      = "ContainerDisappeared"
	ReasonPreStopFailed = "PreStopFailed"
	ReasonDrifted       = "DriftDetected"
	ReasonDriftMended   = "DriftMended"
	ReasonImageMoved    = "ImageMoved"
	// ReasonUnrecorded: a container of ours has no record.
	ReasonUnrecorded = "UnrecordedContainer"
	// ReasonAdopted: a record was made from a container that had none.
	ReasonAdopted = "ContainerAdopted"

	ReasonImagePullFailed  = "ImagePullFailed"
	ReasonImageNotPresent  = "ImageNotPresent"
	ReasonNameConflict     = "NameConflict"
	ReasonPortConflict     = "PortConflict"
	ReasonStateUnavailable = "StateDirectoryUnavailable"
	// ReasonStateMissing: the game had a container before, and its state directory
	// is gone. An empty one is not put in its place.
	ReasonStateMissing  = "StateDirectoryMissing"
	ReasonStartFailed   = "StartFailed"
	ReasonSpecRejected  = "SpecRejectedByEngine"
	ReasonEngineError   = "EngineError"
	ReasonEngineTimeout = "EngineTimeout"
)
