package command

import (
	"context"
	"encoding/json"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Wish is what every wish says.
type Wish struct {
	// Game is the game's id, a DNS label.
	Game string
	// Caller is the service that asks, a DNS label.
	Caller string
	// ID makes a wish one: delivered again, it is not carried out again, unless so
	// many others changed the record since that it is forgotten. Optional; at most
	// 128 printable characters of ASCII without blanks. A record that is cleaned up
	// takes the memory with it.
	ID string
	// Revision is the only one of the record that the wish is meant for, as its
	// resourceVersion tells it. Optional: any.
	Revision string
}

// Start asks for a game to run, and declares it where it has no record.
type Start struct {
	Wish
	// Image is the game image. Optional where the record names one already: a game
	// without is refused with invalid_request, and the field image.
	Image string
	// Spec is a JSON object of fields of GameRuntimeSpec: all that the caller
	// declares. What it declared with an earlier Spec and now does not, it gives up,
	// but for the image. Optional: without it nothing but state and image changes.
	Spec json.RawMessage
}

// Restart asks for one restart of a game that is to run.
type Restart struct {
	Wish
	// At is when the wish was first heard of, by our own clock: a game restarted
	// since is not restarted again. Records count in seconds, so that two restarts
	// within one are one where they name their time. Optional: now.
	At time.Time
}

// Patch asks for another image, as far away as the record's update policy goes.
type Patch struct {
	Wish
	Image string
}

// patience is how long a write is tried again that the API server does not answer,
// or that others get ahead of.
const patience = 10 * time.Second

// Commander writes wishes into the records of one namespace. The errors of its
// methods are each an *Error.
type Commander struct {
	records  dynamic.ResourceInterface
	now      func() time.Time
	patience time.Duration
}

// Records are what wishes are written to.
var Records = v1alpha1.GroupVersion.WithResource("gameruntimes")

// New returns a Commander for the games of a namespace. The client is asked for
// what is stored, and is no cache: a wish has to see the one before it.
func New(client dynamic.Interface, namespace string) *Commander {
	return &Commander{records: client.Resource(Records).Namespace(namespace), now: time.Now, patience: patience}
}

// Start has a game run.
func (c *Commander) Start(ctx context.Context, wish Start) (Answer, error) {
	declared, err := wish.declared()
	if err != nil {
		return Answer{}, err
	}
	return c.change(ctx, VerbStart, wish.Wish, func(record *v1alpha1.GameRuntime) (change, error) {
		if _, named := declared["image"]; !named && record == nil {
			return change{}, invalid("image", "a game without a record needs one")
		}
		return change{spec: declared, whole: wish.Spec != nil}, nil
	})
}

// Stop has a game stopped. Its record, its container and its state stay.
func (c *Commander) Stop(ctx context.Context, wish Wish) (Answer, error) {
	return c.change(ctx, VerbStop, wish, func(record *v1alpha1.GameRuntime) (change, error) {
		return change{spec: map[string]any{"state": string(v1alpha1.StateStopped)}}, recorded(record)
	})
}

// Restart has a running game restarted in a new container with the same state.
func (c *Commander) Restart(ctx context.Context, wish Restart) (Answer, error) {
	if wish.ID == "" { // it alone is another when it is written twice, should an answer be lost
		wish.ID = string(uuid.NewUUID())
	}
	return c.change(ctx, VerbRestart, wish.Wish, func(record *v1alpha1.GameRuntime) (change, error) {
		if err := recorded(record); err != nil {
			return change{}, err
		}
		if record.Spec.State == v1alpha1.StateStopped {
			return change{}, &Error{Code: v1alpha1.CodeConflict, Message: "the game is stopped: start it instead"}
		}
		at := c.restartAt(wish.At, record.Spec.RestartedAt)
		return change{spec: map[string]any{"restartedAt": at.UTC().Format(time.RFC3339)}}, nil
	})
}

// restartAt is the record's new restartedAt, or its old one where the game was
// restarted since.
func (c *Commander) restartAt(heard time.Time, last *metav1.Time) time.Time {
	at := c.now()
	if !heard.IsZero() && heard.Before(at) {
		at = heard
	}
	at = at.Truncate(time.Second)
	switch {
	case last == nil || last.Time.Before(at):
		return at
	case heard.IsZero():
		return last.Add(time.Second) // each is another value
	default:
		return last.Time
	}
}

// Patch gives a game another image.
func (c *Commander) Patch(ctx context.Context, wish Patch) (Answer, error) {
	if wish.Image == "" {
		return Answer{}, invalid("image", "must not be empty")
	}
	return c.change(ctx, VerbPatch, wish.Wish, func(record *v1alpha1.GameRuntime) (change, error) {
		return change{spec: map[string]any{"image": wish.Image}}, recorded(record)
	})
}

// CleanUp deletes a game's record. Its container goes with it, and its state where
// the record's reclaim policy says so. A game without a record is cleaned up.
func (c *Commander) CleanUp(ctx context.Context, wish Wish) (Answer, error) {
	if err := wish.Check(); err != nil {
		return Answer{}, err
	}
	var answer Answer
	err := c.insist(ctx, func(ctx context.Context) (err error) {
		answer, err = c.delete(ctx, wish)
		return err
	})
	return answer, err
}

func (c *Commander) delete(ctx context.Context, wish Wish) (Answer, error) {
	stored, record, err := c.read(ctx, wish.Game)
	switch {
	case err != nil:
		return Answer{}, err
	case record == nil:
		return answer(VerbCleanUp, wish.Game, nil, true), nil
	case !record.DeletionTimestamp.IsZero():
		return answer(VerbCleanUp, wish.Game, record, true), nil
	}
	if err := wish.meant(record); err != nil {
		return Answer{}, err
	}
	only := &metav1.Preconditions{UID: ptr.To(stored.GetUID())}
	if wish.Revision != "" {
		only.ResourceVersion = &wish.Revision
	}
	if err := c.records.Delete(ctx, wish.Game, metav1.DeleteOptions{Preconditions: only}); err != nil && !apierrors.IsNotFound(err) {
		return Answer{}, err
	}
	_, left, err := c.read(ctx, wish.Game)
	if left != nil && left.UID == record.UID {
		return answer(VerbCleanUp, wish.Game, left, false), err // the deletion has a generation of its own
	}
	done := answer(VerbCleanUp, wish.Game, record, false)
	done.Record = nil
	return done, err
}

// recorded refuses what only a game with a record can be asked for.
func recorded(record *v1alpha1.GameRuntime) error {
	if record == nil {
		return &Error{Code: v1alpha1.CodeNotFound, Message: "the game has no record"}
	}
	return nil
}
