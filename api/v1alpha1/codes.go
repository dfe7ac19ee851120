package v1alpha1

// Error codes: what a client may act upon. They do not change; messages do.
const (
	CodeInvalidRequest       = "invalid_request"
	CodeImageRefNotSemver    = "image_ref_not_semver"
	CodeUnauthenticated      = "unauthenticated"
	CodeForbidden            = "forbidden"
	CodeNotFound             = "not_found"
	CodeConflict             = "conflict"
	CodeSemverPatchOnly      = "semver_patch_only"
	CodeStartConfigInvalid   = "start_config_invalid"
	CodeRateLimited          = "rate_limited"
	CodeInternalError        = "internal_error"
	CodeImagePullFailed      = "image_pull_failed"
	CodeContainerStartFailed = "container_start_failed"
	CodeDockerUnavailable    = "docker_unavailable"
	CodeServiceUnavailable   = "service_unavailable"
	CodeTimeout              = "timeout"
	// CodeReplayNoOp is no error: the record said already what was asked for.
	CodeReplayNoOp = "replay_no_op"
)

// CodeClass says whose turn it is after an error.
type CodeClass string

// Classes of codes.
const (
	// ClassSuccess: nobody's.
	ClassSuccess CodeClass = "success"
	// ClassRequest: the asker's. The same request is refused again.
	ClassRequest CodeClass = "request"
	// ClassState: the asker's, who may look at what there is now and ask anew.
	ClassState CodeClass = "state"
	// ClassGame: whoever made the game or its configuration. What was asked for
	// stands in the record, and goes on being tried.
	ClassGame CodeClass = "game"
	// ClassService: ours. The same request may be made again as it is.
	ClassService CodeClass = "service"
)

// Codes are all codes with their classes, in the order in which they are told.
var Codes = []struct {
	Code  string
	Class CodeClass
}{
	{CodeInvalidRequest, ClassRequest},
	{CodeImageRefNotSemver, ClassRequest},
	{CodeUnauthenticated, ClassRequest},
	{CodeForbidden, ClassRequest},
	{CodeNotFound, ClassState},
	{CodeConflict, ClassState},
	{CodeSemverPatchOnly, ClassState},
	{CodeStartConfigInvalid, ClassRequest},
	{CodeRateLimited, ClassService},
	{CodeInternalError, ClassService},
	{CodeImagePullFailed, ClassGame},
	{CodeContainerStartFailed, ClassGame},
	{CodeDockerUnavailable, ClassService},
	{CodeServiceUnavailable, ClassService},
	{CodeTimeout, ClassService},
	{CodeReplayNoOp, ClassSuccess},
}

// ClassOf is the class of a code: that of internal_error for one nobody knows, and
// success for none.
func ClassOf(code string) CodeClass {
	if code == "" {
		return ClassSuccess
	}
	for _, c := range Codes {
		if c.Code == code {
			return c.Class
		}
	}
	return ClassService
}
