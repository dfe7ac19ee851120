package v1alpha1

// Error codes: what a client may act upon. They do not change; messages do.
const (
	CodeNotFound             = "not_found"
	CodeConflict             = "conflict"
	CodeStartConfigInvalid   = "start_config_invalid"
	CodeInternalError        = "internal_error"
	CodeImagePullFailed      = "image_pull_failed"
	CodeContainerStartFailed = "container_start_failed"
	CodeDockerUnavailable    = "docker_unavailable"
	CodeTimeout              = "timeout"
)
