package streams

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	kjson "sigs.k8s.io/json"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/tracing"
)

const (
	// applyTogether is how many jobs are claimed at once, applyAtOnce how many of
	// them are written at a time.
	applyTogether = 64
	applyAtOnce   = 16
	// applyLease is how long claimed jobs are left alone by others: longer than all
	// of them take at the API's worst.
	applyLease = time.Minute
	// firstTryAgain and lastTryAgain are the delays before a job is tried again: each is
	// twice the one before.
	firstTryAgain = 500 * time.Millisecond
	lastTryAgain  = 30 * time.Second
	// settleTimeout is how long what came of the jobs in hand may take to be noted
	// when we end.
	settleTimeout = 5 * time.Second
)

// outcome is what a try to write a job into its record came to.
type outcome struct {
	job      journal.Job
	tried    journal.Tried
	accepted *command.Accepted
	result   *command.Result
	span     trace.Span
}

// apply writes jobs into their records, once.
func (i *Intake) apply(ctx context.Context, well func()) error {
	if err := i.settle(ctx); err != nil {
		return err
	}
	claims, err := i.Jobs.Claim(ctx, i.Manager, applyLease, applyTogether)
	if err != nil {
		return err
	}
	well()
	if len(claims) == 0 {
		select {
		case <-ctx.Done():
		case <-i.arrived:
		case <-time.After(i.Glance):
		}
		return nil
	}
	outcomes := make([]outcome, len(claims))
	var writes errgroup.Group
	writes.SetLimit(applyAtOnce)
	for k, claim := range claims {
		writes.Go(func() error {
			outcomes[k] = i.carryOut(ctx, claim)
			return nil
		})
	}
	_ = writes.Wait() // each tells its own
	i.unsettled = outcomes
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return i.settle(within)
}

// settle notes what came of the jobs in hand.
func (i *Intake) settle(ctx context.Context) error {
	if len(i.unsettled) == 0 {
		return nil
	}
	var tried []journal.Tried
	var replies []journal.Reply
	results := map[string]outcome{}
	for _, o := range i.unsettled {
		tried = append(tried, o.tried)
		if o.result != nil {
			replies = append(replies, i.answer(o.job, *o.result))
			results[o.job.ID] = o
		}
	}
	told, err := i.Jobs.Settle(ctx, tried, replies)
	if err != nil {
		return err
	}
	for _, id := range told {
		i.metrics.count(results[id].job.Verb, *results[id].result)
	}
	for _, o := range i.unsettled {
		switch {
		case o.result != nil:
			answered(o.span, *o.result)
		case o.accepted != nil:
			i.await(o.job, *o.accepted, o.span)
		}
	}
	i.unsettled = nil
	wake(i.changed)
	return nil
}

func (i *Intake) carryOut(ctx context.Context, claim journal.ClaimedJob) outcome {
	o := outcome{job: claim.Job, tried: journal.Tried{Job: claim.ID}}
	ctx, o.span = i.trace(ctx, claim)
	if claim.Overtaken {
		o.result = &command.Result{
			Outcome: command.Failure, ErrorCode: v1alpha1.CodeConflict, Message: "a later job of the game was carried out before this one was read",
		}
		return o
	}
	answer, err := i.write(ctx, claim.Job)
	switch {
	case err == nil:
		text, wrong := json.Marshal(answer.Accepted)
		if wrong != nil {
			panic("streams: what is accepted is no JSON: " + wrong.Error()) // of strings and numbers only
		}
		o.tried.Accepted, o.accepted = text, &answer.Accepted
		if result, done := command.Conclude(answer.Record, answer.Accepted); done {
			o.result = &result
		}
	case ctx.Err() != nil: // another one goes on, at once
		tracing.End(o.span, err)
	case retryable(err) && !claim.Overdue:
		tracing.End(o.span, err)
		o.tried.Delay = min(backOff(claim.Tries), max(0, time.Until(claim.Deadline)))
	default:
		result := command.Failed(err)
		o.result = &result
	}
	return o
}

// retryable says that the same may go well later.
func retryable(err error) bool {
	var known *command.Error
	return !errors.As(err, &known) || known.Retryable
}

func backOff(tries int) time.Duration {
	delay := min(firstTryAgain<<min(tries-1, 10), lastTryAgain)
	return delay/2 + rand.N(delay/2)
}

// write writes a job into its game's record. The job's id makes that one wish,
// however often it is written.
func (i *Intake) write(ctx context.Context, job journal.Job) (command.Answer, error) {
	wish := command.Wish{Game: job.Game, Caller: job.Caller, ID: job.ID}
	if command.Verb(job.Verb) == command.VerbStop {
		return i.Commands.Stop(ctx, wish)
	}
	start := command.Start{Wish: wish, Image: job.Image}
	if job.Spec != "" {
		start.Spec = json.RawMessage(job.Spec)
	}
	unnamed := job.Image == "" && !namesImage(job.Spec)
	if unnamed && i.Image != nil {
		image, err := i.Image(ctx, job.Game)
		if err != nil {
			return command.Answer{}, err
		}
		start.Image = image
	}
	answer, err := i.Commands.Start(ctx, start)
	var wrong *command.Error
	if unnamed && i.Image == nil && errors.As(err, &wrong) && wrong.Field == "image" {
		return answer, &command.Error{
			Code: v1alpha1.CodeInvalidRequest, Field: "image_ref", Message: "is missing: the game has no record, and there is no Lobby to ask for its image",
		}
	}
	return answer, err
}

// namesImage says whether a job's spec does. One that cannot be read is told of
// where it is applied.
func namesImage(spec string) bool {
	var fields struct {
		Image string `json:"image"`
	}
	return kjson.UnmarshalCaseSensitivePreserveInts([]byte(spec), &fields) == nil && fields.Image != ""
}
