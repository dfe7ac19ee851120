package command

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// insist tries until it is told something that lasts, for as long as patience
// goes. What is tried looks at the record first: a write whose answer was lost is
// found, and not made again.
func (c *Commander) insist(ctx context.Context, try func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	pace := wait.Backoff{Duration: 10 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 100, Cap: time.Second}
	var last error
	for {
		err := try(within)
		if err == nil {
			return nil
		}
		if last == nil || within.Err() == nil {
			last = err // one that our own deadline cut short tells nothing
		}
		if !transient(err) {
			return classify(err)
		}
		select {
		case <-time.After(pace.Step()):
		case <-within.Done():
			return c.gaveUp(ctx, last)
		}
	}
}

// gaveUp tells who asked and went from who was kept waiting.
func (c *Commander) gaveUp(ctx context.Context, last error) error {
	if ctx.Err() == nil {
		return classify(last)
	}
	return &Error{
		Code: v1alpha1.CodeTimeout, Message: "the time to answer in is over: whether the record says so is not known, ask again",
		Retryable: true, cause: errors.Join(ctx.Err(), last),
	}
}
