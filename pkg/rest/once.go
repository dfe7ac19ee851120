package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
)

// claimGrace is how much longer than its wait a request may take before its key
// counts as given up, as by a manager that crashed.
const claimGrace = 30 * time.Second

// keepTimeout bounds what is written about a request after its answer is known,
// though its caller may be gone.
const keepTimeout = 5 * time.Second

// once carries out a request that has a key unless that was done before. Only a
// final answer is kept: otherwise the same request may be made again, and the wish
// is known by the same key in its record.
func (s *Server) once(ctx context.Context, order order, do func() (answer reply, final bool)) reply {
	if order.ID == "" {
		answer, _ := do()
		return answer
	}
	claim, kept, err := s.answers.Claim(ctx, journal.Asked{Caller: order.Caller, Key: order.ID, Digest: order.digest}, order.wait+claimGrace)
	switch {
	case err != nil:
		return s.unclaimed(ctx, err)
	case kept != nil:
		return replayed(kept)
	}
	final := false
	var answer reply
	defer func() { // also when we panic
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
		defer cancel()
		end := claim.GiveUp
		if final {
			end = func(ctx context.Context) error {
				return claim.Keep(ctx, journal.Kept{Status: answer.status, ETag: answer.header.Get("ETag"), Body: answer.body})
			}
		}
		if err := end(ctx); err != nil { // the wish is in the record, and the key's time ends
			s.log.Info("what became of a key could not be written", "caller", order.Caller, "reason", err.Error())
		}
	}()
	answer, final = do()
	return answer
}

func (s *Server) unclaimed(ctx context.Context, err error) reply {
	refusal := &command.Error{Code: v1alpha1.CodeConflict, Field: headerKey, Message: err.Error()}
	switch {
	case errors.Is(err, journal.ErrOtherRequest):
	case errors.Is(err, journal.ErrInHand):
		refusal.Retryable = true
	default:
		if ctx.Err() == nil {
			s.log.Info("kept answers cannot be read", "reason", err.Error())
		}
		refusal = &command.Error{Code: v1alpha1.CodeServiceUnavailable, Message: "kept answers cannot be read now: ask again", Retryable: true}
	}
	return failed(refusal)
}

func replayed(kept *journal.Kept) reply {
	answer := reply{status: kept.Status, header: http.Header{}, body: kept.Body}
	answer.header.Set(headerReplayed, "true")
	if kept.ETag != "" {
		answer.header.Set("ETag", kept.ETag)
	}
	return answer
}
