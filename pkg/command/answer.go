package command

import (
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Outcome says whether a wish came true, or stands in the record where nobody
// waits for that.
type Outcome string

// Outcomes.
const (
	Success Outcome = "success"
	Failure Outcome = "failure"
)

// Result is the answer to a wish in the one shape that all services get.
type Result struct {
	Outcome Outcome `json:"outcome"`
	// ErrorCode is one of v1alpha1.Codes; with success it is empty or replay_no_op.
	ErrorCode string `json:"error_code,omitempty"`
	// Message is for people.
	Message string `json:"message,omitempty"`
	// OperationID is what was done to the container, as the game's history names
	// it, as far as it is known.
	OperationID string `json:"operation_id,omitempty"`
}

// Verb is what a service may wish for a game.
type Verb string

// Verbs.
const (
	VerbStart   Verb = "start"
	VerbStop    Verb = "stop"
	VerbRestart Verb = "restart"
	VerbPatch   Verb = "patch"
	VerbCleanUp Verb = "cleanup"
)

// Accepted is a wish that stands in the record: all that Conclude needs to know of
// it. It may be stored, to go on waiting after a crash.
type Accepted struct {
	Verb Verb   `json:"verb"`
	Game string `json:"game"`
	// UID is the record's: one that is declared anew under the same name is another.
	UID types.UID `json:"uid,omitempty"`
	// Generation is the record's that says so: the status has to tell of it, or of
	// a later one.
	Generation int64 `json:"generation,omitempty"`
	// Image is the record's as the wish left it.
	Image string `json:"image,omitempty"`
	// NoOp: the record said so already.
	NoOp bool `json:"no_op,omitempty"`
}

// Answer is what a wish comes to at once.
type Answer struct {
	Result
	Accepted Accepted
	// Record is the record as it stands, its revision in resourceVersion; nil where
	// there is none any more. Who manages which field is left out.
	Record *v1alpha1.GameRuntime
}

// answer is that a wish stands in a record, or needs none.
func answer(verb Verb, game string, record *v1alpha1.GameRuntime, noOp bool) Answer {
	accepted := Accepted{Verb: verb, Game: game, NoOp: noOp}
	if record != nil {
		accepted.UID, accepted.Generation, accepted.Image = record.UID, record.Generation, record.Spec.Image
	}
	return Answer{Result: accepted.success(""), Accepted: accepted, Record: record}
}

// success is a wish that came true by an operation, where one was needed.
func (a Accepted) success(operation string) Result {
	if a.NoOp {
		return Result{Outcome: Success, ErrorCode: v1alpha1.CodeReplayNoOp, Message: "the record said so already", OperationID: operation}
	}
	return Result{Outcome: Success, OperationID: operation}
}
