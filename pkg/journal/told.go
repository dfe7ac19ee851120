package journal

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// Told returns when all that a game has to tell so far is durable, as it has to
// be before the status that it follows from is overwritten, or gone.
func (j *Journal) Told(ctx context.Context, game types.NamespacedName) error {
	for {
		j.mu.Lock()
		_, waits := j.untold[game]
		_, inHand := j.telling[game]
		next := j.heard
		j.mu.Unlock()
		if !waits && !inHand {
			return nil
		}
		wake(j.hurry)
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		case <-j.closed:
			return errClosed
		}
	}
}
