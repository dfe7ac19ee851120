package journal

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

func TestToldWaitsUntilItIsDurable(t *testing.T) {
	onEachLog(t, func(t *testing.T, rows Log) {
		j := open(t, rows)
		defer j.Close()
		require.NoError(t, j.Told(ctx, chess), "nothing waits")
		begin := time.Now()
		for n := range 20 {
			tell(j, running(chess, n))
			require.NoError(t, j.Told(ctx, chess))
			require.Len(t, announced(t, rows, chess), n+1)
		}
		require.Less(t, time.Since(begin), 10*tellSpacing, "who waits is not held up for others to join")
	})
}

func TestToldWaitsForTheDatabase(t *testing.T) {
	rows := &gate{Log: InMemory(), deaf: true}
	j := open(t, rows)
	defer j.Close()
	tell(j, running(chess, 1))
	briefly, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, j.Told(briefly, chess), context.DeadlineExceeded)
	require.NoError(t, j.Told(ctx, types.NamespacedName{Namespace: "default", Name: "go"}), "another game has nothing to say")
	heard := make(chan error, 1)
	go func() { heard <- j.Told(ctx, chess) }()
	rows.mu.Lock()
	rows.deaf = false
	rows.mu.Unlock()
	require.NoError(t, <-heard)
	require.Equal(t, ids(running(chess, 1)), announced(t, rows, chess))
}

func TestToldEndsWithTheJournal(t *testing.T) {
	rows := &gate{Log: InMemory(), deaf: true}
	j := open(t, rows)
	tell(j, running(chess, 1))
	j.Close()
	require.ErrorIs(t, j.Told(ctx, chess), errClosed)
}
