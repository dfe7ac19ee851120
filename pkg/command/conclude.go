package command

import "galaxy.io/runtime-manager/api/v1alpha1"

// Conclude says whether an accepted wish is done, and how, by what the record's
// status tells; nil is the record that is gone. What it is given must not be older
// than the answer to the wish.
//
// A failure is the first try that failed. It ends the waiting and not the wish:
// that stands in the record, and goes on being tried.
func Conclude(record *v1alpha1.GameRuntime, wish Accepted) (result Result, done bool) {
	return Result{}, false
}

// Overdue is what somebody is told who does not wait any longer for a wish that
// Conclude does not find done: why not, as docker_unavailable or timeout. The wish
// stands.
func Overdue(record *v1alpha1.GameRuntime, wish Accepted) Result {
	return Result{Outcome: Failure, ErrorCode: v1alpha1.CodeTimeout}
}
