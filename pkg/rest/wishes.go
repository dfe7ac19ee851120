package rest

import (
	"context"
	"net/http"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/tracing"
)

// wish handles the requests for a change.
func (s *Server) wish(verb command.Verb) handler {
	return func(w http.ResponseWriter, r *http.Request) reply {
		order, err := readOrder(w, r, verb)
		if err != nil {
			return failed(err)
		}
		if order.wait > 0 {
			select {
			case s.waits <- struct{}{}:
				defer func() { <-s.waits }()
			default:
				return failed(&command.Error{
					Code: v1alpha1.CodeRateLimited, Message: "too many callers wait already: ask again, or without wait", Retryable: true,
				})
			}
		}
		answer := s.once(r.Context(), order, func() (reply, bool) { return s.carryOut(r.Context(), order) })
		tracing.Log(r.Context(), s.log).Info("answered a wish", "request", r.Header.Get(headerRequestID), "caller", order.Caller, "game", s.watch.namespace+"/"+order.Game,
			"wish", verb, "status", answer.status)
		return answer
	}
}

// carryOut has a wish written, and waits for what comes of it if it is asked to.
// The answer is final if the same request has nothing more to find out.
func (s *Server) carryOut(ctx context.Context, order order) (answer reply, final bool) {
	seen := s.watch.game(order.Game) // before the write, so that nothing is missed
	defer seen.close()
	accepted, err := s.write(ctx, order)
	if err != nil {
		return failed(err), false
	}
	if order.wait == 0 {
		status := http.StatusAccepted
		if accepted.ErrorCode == v1alpha1.CodeReplayNoOp {
			status = http.StatusOK
		}
		return about(status, accepted.Result, accepted.Record), true
	}
	return s.await(ctx, order, accepted, seen)
}

func (s *Server) write(ctx context.Context, order order) (command.Answer, error) {
	switch order.verb {
	case command.VerbStart:
		return s.commander.Start(ctx, command.Start{Wish: order.Wish, Image: order.body.Image, Spec: order.body.Spec})
	case command.VerbStop:
		return s.commander.Stop(ctx, order.Wish)
	case command.VerbRestart:
		return s.commander.Restart(ctx, command.Restart{Wish: order.Wish})
	case command.VerbPatch:
		return s.commander.Patch(ctx, command.Patch{Wish: order.Wish, Image: order.body.Image})
	default:
		return s.commander.CleanUp(ctx, order.Wish)
	}
}

// await looks at each state of the record from the write on until that concludes
// the wish, or the time is over.
func (s *Server) await(ctx context.Context, order order, accepted command.Answer, seen *sight) (answer reply, final bool) {
	over := time.NewTimer(order.wait)
	defer over.Stop()
	record := accepted.Record
	for {
		if result, done := command.Conclude(record, accepted.Accepted); done {
			return about(statusOf(result), result, record), v1alpha1.ClassOf(result.ErrorCode) != v1alpha1.ClassService
		}
		select {
		case <-seen.news:
			record = seen.newer(record)
		case <-over.C:
			return s.overdue(ctx, order, accepted.Accepted, record), false
		case <-s.stopping:
			return standing(command.Result{
				Outcome: command.Failure, ErrorCode: v1alpha1.CodeServiceUnavailable,
				Message: "the manager is being stopped: the wish stands in the record, ask again for what comes of it",
			}, record), false
		case <-ctx.Done(): // nobody listens any more
			return standing(command.Overdue(record, accepted.Accepted), record), false
		}
	}
}

// overdue is the answer when the time to wait is over. The record is read once
// more: should the watch stand still, nobody has to hear of it.
func (s *Server) overdue(ctx context.Context, order order, accepted command.Accepted, record *v1alpha1.GameRuntime) reply {
	if stored, err := s.commander.Get(ctx, order.Game); err == nil {
		record = stored
	} else if command.Failed(err).ErrorCode == v1alpha1.CodeNotFound {
		record = nil
	}
	if result, done := command.Conclude(record, accepted); done {
		return about(statusOf(result), result, record)
	}
	return standing(command.Overdue(record, accepted), record)
}

// standing is the answer about a wish that stands, and whose outcome may be asked
// for again.
func standing(result command.Result, record *v1alpha1.GameRuntime) reply {
	answer := about(statusOf(result), result, record)
	answer.retryAfter()
	return answer
}
