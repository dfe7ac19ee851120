//go:build integration

package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// BenchmarkJobsToRecords has 500 jobs added at once: the time until all records are
// written, and until all results are on their stream. The manager observes, so that
// no container costs anything.
func BenchmarkJobsToRecords(b *testing.B) {
	const jobs = 500
	server := redistest.StartServer(b)
	m := startManager(b, func(c *Config) { c.RedisURL, c.DriftPolicy = server.URL(), string(v1alpha1.DriftObserve) })
	client := server.Client(b)
	began := time.Now()
	_, err := client.Pipelined(b.Context(), func(all redis.Pipeliner) error {
		for n := range jobs {
			id := fmt.Sprint("job-", n)
			all.XAdd(b.Context(), &redis.XAddArgs{Stream: "runtime:start_jobs", Values: []string{
				"job_id", id, "game_id", id, "requested_at_ms", "1764000000000", "requested_by", "lobby", "image_ref", demoImage,
			}})
		}
		return nil
	})
	require.NoError(b, err)
	require.Eventually(b, func() bool {
		var all v1alpha1.GameRuntimeList
		require.NoError(b, m.List(b.Context(), &all))
		return len(all.Items) == jobs
	}, patience, 500*time.Millisecond)
	written := time.Since(began)
	require.Eventually(b, func() bool {
		return client.XLen(b.Context(), "runtime:job_results").Val() == jobs
	}, patience, 10*time.Millisecond)
	b.ReportMetric(jobs/written.Seconds(), "written/s")
	b.ReportMetric(jobs/time.Since(began).Seconds(), "answered/s")
}
