package app

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	// garbagePercent is how much garbage may gather before it is collected, in
	// percent of what lives. The runtime's own 100 makes a process twice as large
	// as what it holds, and ours holds for good what it holds: the records, in the
	// API's cache and the loop's, and the picture of the engine. Half of it costs a
	// bulk of starts 5 % more of a processor.
	garbagePercent = 50
	// giveBackInterval is how long no garbage is collected before memory is given
	// back.
	giveBackInterval = 15 * time.Second
)

// spareMemory collects garbage sooner than the runtime would by itself, unless
// the environment variable GOGC says otherwise.
func spareMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// giveBackMemory returns to the system what was needed for a moment, until ctx
// ends. A start takes several times what it leaves, and the runtime lets go of
// that behind its collections, which only growth brings about: a manager at rest
// would keep it. One that is busy is left to the runtime.
func giveBackMemory(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	seen, owed := collections(), true
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch now := collections(); {
		case now != seen:
			seen, owed = now, true
		case owed:
			debug.FreeOSMemory() // which collects
			seen, owed = collections(), false
		}
	}
}

// collections counts those of garbage so far.
func collections() int64 {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	return stats.NumGC
}
