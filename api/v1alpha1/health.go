package v1alpha1

// HealthEventType names what happened to a game's health, as the history and the
// platform's other services know it. pkg/health says who owns the fact behind
// each, and is the only package that makes events of them.
type HealthEventType string

// Health event types.
const (
	// HealthContainerStarted: the reconciler started the container.
	HealthContainerStarted HealthEventType = "container_started"
	// HealthContainerExited: the container ended, by whatever cause.
	HealthContainerExited HealthEventType = "container_exited"
	// HealthContainerOOM: it ended as it was out of memory, by the engine's flag.
	HealthContainerOOM HealthEventType = "container_oom"
	// HealthContainerDisappeared: it is gone, and no operation of ours removed it.
	HealthContainerDisappeared HealthEventType = "container_disappeared"
	// HealthInspectUnhealthy: the image's own HEALTHCHECK fails, or somebody else
	// started the container.
	HealthInspectUnhealthy HealthEventType = "inspect_unhealthy"
	// HealthProbeFailed and HealthProbeRecovered: a probe, after its thresholds.
	HealthProbeFailed    HealthEventType = "probe_failed"
	HealthProbeRecovered HealthEventType = "probe_recovered"
)
