package streams

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// BenchmarkRelay is the time from the commit of a message until another service has
// read it, and how fast a backlog goes.
func BenchmarkRelay(b *testing.B) {
	const single, backlog = 200, 10_000
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(b)}, redistest.StartServer(b)
	relay := start(b, outbox, server)
	client, last := server.Client(b), "0"
	var times []time.Duration
	for n := range single {
		put(b, outbox, message{events, "default/chess", n + 1})
		began := time.Now()
		read, err := client.XRead(b.Context(), &redis.XReadArgs{Streams: []string{events, last}, Block: soon}).Result()
		require.NoError(b, err)
		last = read[0].Messages[0].ID
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[single/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[single*99/100].Microseconds())/1000, "p99-ms")

	relay.end()
	_, err := outbox.Pool.Exec(b.Context(), `INSERT INTO outbox (id, stream, game, payload)
		SELECT gen_random_uuid(), $1, 'default/g' || n % 1000, jsonb_build_object('type', 'told', 'n', n) FROM generate_series(1, $2::int) n`, results, backlog)
	require.NoError(b, err)
	began := time.Now()
	relay.Flush(b.Context())
	b.ReportMetric(backlog/time.Since(began).Seconds(), "messages/s")
	require.Zero(b, waiting(b, outbox))
}
