package v1alpha1

// FinalizerEngine holds a record until its container, and its state directory
// where the reclaim policy says so, are gone from the engine.
const FinalizerEngine = "runtime.galaxy.io/engine"

// AnnotationPaused keeps everything from being done to a game, if it is "true".
// What would be is reported. A record that is deleted goes all the same.
const AnnotationPaused = "runtime.galaxy.io/paused"

// AnnotationDriftPolicy on a namespace is the drift policy of all games in it,
// Enforce or Observe. Where a record, its namespace and the manager do not agree,
// Observe wins.
const AnnotationDriftPolicy = "runtime.galaxy.io/drift-policy"

// AnnotationRetry makes a record forget its back-off once for each new value:
// what it waits to do again is tried at once.
const AnnotationRetry = "runtime.galaxy.io/retry"

// AnnotationWish holds the last wishes of services that changed a record, newest
// first, each as caller/verb/id: one that is delivered again is not carried out again.
const AnnotationWish = "runtime.galaxy.io/wish"

// AnnotationAdopted names the container, by its id, that a record was made from
// and that is its own though its labels say otherwise.
const AnnotationAdopted = "runtime.galaxy.io/adopted"

// AnnotationAdoptedSpec stands for the label LabelSpecHash that the adopted
// container has not got.
const AnnotationAdoptedSpec = "runtime.galaxy.io/adopted-spec"

// AnnotationApproveRecreation on a DriftReport approves that containers which
// vanished together are made anew. Its value is the time that the waiting records
// name: it approves that one freeze, and no later one.
const AnnotationApproveRecreation = "runtime.galaxy.io/approve-recreation"

// Labels on every container that Runtime Manager creates. A container without
// LabelInstallation, or with another installation's id, is never touched.
const (
	// LabelInstallation is the id of the installation that owns the container.
	LabelInstallation = "runtime.galaxy.io/installation"
	// LabelNamespace and LabelGame are the record's namespace and name.
	LabelNamespace = "runtime.galaxy.io/namespace"
	LabelGame      = "runtime.galaxy.io/game"
	// LabelUID is the record's uid: a record deleted and declared again does
	// not take over its predecessor's container.
	LabelUID = "runtime.galaxy.io/uid"
	// LabelOperation is the id of the operation that created the container.
	LabelOperation = "runtime.galaxy.io/operation"
	// LabelSpecHash is a digest of all that makes a recreate necessary, field by
	// field.
	LabelSpecHash = "runtime.galaxy.io/spec-hash"
	// LabelGeneration is the record's generation at the time of the create.
	LabelGeneration = "runtime.galaxy.io/generation"
)
