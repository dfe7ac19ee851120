package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// AnswerKept is how long a service may come back for an answer.
const AnswerKept = 24 * time.Hour

// Errors of Claim.
var (
	// ErrOtherRequest: the key stands for a request that asked for something else.
	ErrOtherRequest = errors.New("the key was used for another request")
	// ErrInHand: the same request is being carried out now.
	ErrInHand = errors.New("the same request is being carried out")
)

// A claim takes a key that is free, or whose time is over.
const claimAnswer = `INSERT INTO answers AS a (caller, key, request, claim, expires_at) VALUES ($1, $2, $3, $4, now() + $5)
ON CONFLICT (caller, key) DO UPDATE SET request = excluded.request, claim = excluded.claim, status = NULL, etag = '', body = NULL,
	created_at = now(), expires_at = excluded.expires_at
WHERE a.expires_at <= now()`

const (
	readAnswer   = "SELECT request, coalesce(status, 0), etag, body FROM answers WHERE caller = $1 AND key = $2"
	keepAnswer   = "UPDATE answers SET status = $4, etag = $5, body = $6, expires_at = now() + $7 WHERE caller = $1 AND key = $2 AND claim = $3"
	giveUpAnswer = "DELETE FROM answers WHERE caller = $1 AND key = $2 AND claim = $3 AND status IS NULL"
	// A key that is claimed at this moment is locked, and not old any more.
	deleteAnswers = `DELETE FROM answers WHERE (caller, key) IN (
	SELECT caller, key FROM answers WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)`
)

// Asked is a request that its caller may make again under the same key.
type Asked struct {
	Caller, Key string
	// Digest stands for all that it asks for.
	Digest []byte
}

// Kept is an answer as it was given.
type Kept struct {
	// Status is that of HTTP.
	Status int
	ETag   string
	Body   []byte
}

// Answers keeps what services were answered, by the keys that they chose.
type Answers struct{ pool *pgxpool.Pool }

// NewAnswers returns those of a database.
func NewAnswers(pool *pgxpool.Pool) Answers { return Answers{pool} }

// Turn is the right to carry a request out and to say what came of it.
type Turn struct {
	pool  *pgxpool.Pool
	asked Asked
	id    string
}

// Claim returns either the claim on a request, which counts as given up when its
// time is over, or the answer that was kept.
func (a Answers) Claim(ctx context.Context, asked Asked, within time.Duration) (*Turn, *Kept, error) {
	claim := &Turn{pool: a.pool, asked: asked, id: uuid.NewString()}
	// Whoever has the key may give it up between the two statements.
	for range 3 {
		tag, err := a.pool.Exec(ctx, claimAnswer, asked.Caller, asked.Key, asked.Digest, claim.id, within)
		if err != nil {
			return nil, nil, fmt.Errorf("claiming a request: %w", err)
		}
		if tag.RowsAffected() == 1 {
			return claim, nil, nil
		}
		kept, err := a.read(ctx, asked)
		if !errors.Is(err, pgx.ErrNoRows) {
			return nil, kept, err
		}
	}
	return nil, nil, ErrInHand
}

func (a Answers) read(ctx context.Context, asked Asked) (*Kept, error) {
	var digest []byte
	kept := &Kept{}
	err := a.pool.QueryRow(ctx, readAnswer, asked.Caller, asked.Key).Scan(&digest, &kept.Status, &kept.ETag, &kept.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a kept answer: %w", err)
	case string(digest) != string(asked.Digest):
		return nil, ErrOtherRequest
	case kept.Status == 0:
		return nil, ErrInHand
	}
	return kept, nil
}

// Keep keeps the answer, unless the claim's time was over and another has it.
func (c *Turn) Keep(ctx context.Context, answer Kept) error {
	if _, err := c.pool.Exec(ctx, keepAnswer, c.asked.Caller, c.asked.Key, c.id, answer.Status, answer.ETag, answer.Body, AnswerKept); err != nil {
		return fmt.Errorf("keeping an answer: %w", err)
	}
	return nil
}

// GiveUp lets the same key be claimed again.
func (c *Turn) GiveUp(ctx context.Context) error {
	if _, err := c.pool.Exec(ctx, giveUpAnswer, c.asked.Caller, c.asked.Key, c.id); err != nil {
		return fmt.Errorf("giving up a claim: %w", err)
	}
	return nil
}

// Forget deletes the answers whose time is over.
func (a Answers) Forget(ctx context.Context) error {
	for {
		tag, err := a.pool.Exec(ctx, deleteAnswers, sweepBatch)
		if err != nil {
			return fmt.Errorf("deleting old answers: %w", err)
		}
		if tag.RowsAffected() < sweepBatch {
			return nil
		}
	}
}
