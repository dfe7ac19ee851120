package command

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Await follows a game's record from the answer to a wish on until that is
// concluded, or ctx ends: then the result is Overdue's. Each state of the record
// that it looks at is handed to see, nil once it is gone. An API server that is
// away is waited for. It is for one who waits; a server with many has one watch.
func (c *Commander) Await(ctx context.Context, answer Answer, see func(*v1alpha1.GameRuntime)) Result {
	record := answer.Record
	pace := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 100, Cap: 2 * time.Second}
	for {
		last, result, done := c.follow(ctx, record, answer.Accepted, see)
		if done {
			return result
		}
		record = last
		select {
		case <-time.After(pace.Step()):
		case <-ctx.Done():
			return Overdue(record, answer.Accepted)
		}
		stored, err := c.Get(ctx, answer.Accepted.Game) // the watch cannot go on from where it was
		var refusal *Error
		switch {
		case err == nil:
			record = stored
		case errors.As(err, &refusal) && refusal.Code == v1alpha1.CodeNotFound:
			record = nil
		}
	}
}

// follow looks at a record and at each later state of it, until one concludes the
// wish, or the watch ends.
func (c *Commander) follow(ctx context.Context, record *v1alpha1.GameRuntime, wish Accepted, see func(*v1alpha1.GameRuntime)) (last *v1alpha1.GameRuntime, result Result, done bool) {
	see(record)
	if result, done = Conclude(record, wish); done {
		return record, result, true
	}
	changes, err := c.records.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", wish.Game).String(), ResourceVersion: record.ResourceVersion,
	})
	if err != nil {
		return record, Result{}, false
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		switch stored, ok := change.Object.(*unstructured.Unstructured); {
		case change.Type == watch.Deleted:
			record = nil
		case change.Type == watch.Error || !ok:
			return record, Result{}, false
		default:
			next, err := typed(stored)
			if err != nil {
				return record, Result{}, false
			}
			record = next
		}
		see(record)
		if result, done = Conclude(record, wish); done {
			return record, result, true
		}
	}
	return record, Result{}, false
}
