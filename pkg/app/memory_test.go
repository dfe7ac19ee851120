package app

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a moment needed is not kept, though nothing grows and makes the runtime
// collect.
func TestMemoryIsGivenBack(t *testing.T) {
	const moment = 256 << 20
	occupied := func() uint64 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapSys - stats.HeapReleased
	}
	before := occupied()
	needed := make([]byte, moment)
	for i := range needed {
		needed[i] = 1
	}
	runtime.KeepAlive(needed)
	require.Greater(t, occupied(), before+moment/2)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		giveBackMemory(ctx, 10*time.Millisecond)
		close(ended)
	}()
	require.Eventually(t, func() bool { return occupied() < before+moment/2 }, 5*time.Second, 50*time.Millisecond)
	cancel()
	<-ended
}
