package streams

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// BenchmarkIntake takes jobs from XADD to their results in the outbox, on a real
// Redis and PostgreSQL; the records are in memory, and so their cost is not in it.
func BenchmarkIntake(b *testing.B) {
	e := newEdge(b)
	e.intake("one")
	e.quiet()
	began := e.count("jobs WHERE result IS NOT NULL")
	b.ResetTimer()
	start := time.Now()
	for n := 0; n < b.N; {
		_, err := e.redis.Pipelined(b.Context(), func(all redis.Pipeliner) error {
			for range min(100, b.N-n) {
				id := fmt.Sprint("job-", n)
				n++
				all.XAdd(b.Context(), &redis.XAddArgs{Stream: StartJobs, Values: job(id, id, "image_ref", "galaxy/demo-game:1.0.0")})
			}
			return nil
		})
		require.NoError(b, err)
	}
	require.Eventually(b, func() bool { return e.count("jobs WHERE result IS NOT NULL") == began+b.N }, time.Minute, 5*time.Millisecond)
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "jobs/s")
}
