//go:build integration

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// told is a message as another service reads it.
type told struct {
	Type        string `json:"type"`
	Kind        string `json:"kind"`
	Game        string `json:"game_id"`
	ContainerID string `json:"container_id"`
	EventID     string `json:"event_id"`
	JobID       string `json:"job_id"`
	Outcome     string `json:"outcome"`
	ErrorCode   string `json:"error_code"`
	Message     string `json:"message"`
	OperationID string `json:"operation_id"`
	at          time.Time
}

// reader reads a stream from its beginning, as it is written.
type reader struct {
	mu   sync.Mutex
	seen []told
}

// read begins at what is there.
func read(t testing.TB, server *redistest.Server, stream string) *reader {
	ctx, cancel := context.WithCancel(context.Background())
	client, r, ended := server.Client(t), &reader{}, make(chan struct{})
	go func() {
		defer close(ended)
		for last := "0"; ctx.Err() == nil; {
			read, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{stream, last}, Block: time.Second}).Result()
			if err != nil { // nothing new, or it is over
				continue
			}
			for _, entry := range read[0].Messages {
				last = entry.ID
				r.add(t, entry)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

func (r *reader) add(t testing.TB, entry redis.XMessage) {
	message := told{at: time.Now()}
	if err := json.Unmarshal([]byte(fmt.Sprint(entry.Values["payload"])), &message); err != nil {
		t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, message)
}

// await returns the first message that is of a kind.
func (r *reader) await(t testing.TB, is func(told) bool) (found told) {
	t.Helper()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, message := range r.seen {
			if is(message) {
				found = message
				return true
			}
		}
		return false
	}, patience, 10*time.Millisecond)
	return found
}

// killFromTheHost ends a container's process past the engine, and returns when.
func killFromTheHost(t testing.TB, id string) time.Time {
	pid, err := strconv.Atoi(dockerCLI(t, "inspect", "-f", "{{.State.Pid}}", id))
	require.NoError(t, err)
	require.NotZero(t, pid)
	at := time.Now()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	return at
}

// A game's death reaches other services, and the people whom it concerns. What
// could not be told by the time that the manager is to end, is told then.
func TestADeathIsToldOnTheStreams(t *testing.T) {
	server := redistest.StartServer(t)
	events, intents := read(t, server, "runtime:health_events"), read(t, server, "notification:intents")
	m := startManager(t, func(c *Config) { c.RedisURL = server.URL() })
	die := func(name string) (container string) {
		g := game(name)
		g.Spec.RestartPolicy = v1alpha1.RestartNever
		m.create(g)
		container = m.awaitReady(name).Status.Container.ID
		killFromTheHost(t, container)
		m.await(name, "its end", func(g *v1alpha1.GameRuntime) bool { return g.Status.LastTermination != nil })
		return container
	}
	tellsOf := func(container string) {
		end := events.await(t, func(e told) bool { return e.Type == "container_exited" && e.ContainerID == container })
		intent := intents.await(t, func(e told) bool { return e.EventID == end.EventID })
		require.Equal(t, []string{"container_exited", end.Game}, []string{intent.Kind, intent.Game})
		events.await(t, func(e told) bool { return e.Type == "container_started" && e.ContainerID == container })
	}
	tellsOf(die("mourned"))
	server.Kill(t)
	unheard := die("unheard")
	server.Start(t)
	m.stop()
	tellsOf(unheard)
	startManager(t, func(c *Config) { c.DataDir = m.config.DataDir }) // it cleans up
}

// BenchmarkDeathToStream kills 30 games from the host, one after another: the time
// from each signal until another service has read of it.
func BenchmarkDeathToStream(b *testing.B) {
	const deaths = 30
	server := redistest.StartServer(b)
	m := startManager(b, func(c *Config) { c.RedisURL = server.URL() })
	ids := declareRunning(b, m, "heal", deaths)
	events := read(b, server, "runtime:health_events")
	var times []time.Duration
	for _, id := range ids {
		began := killFromTheHost(b, id)
		end := events.await(b, func(e told) bool { return e.Type == "container_exited" && e.ContainerID == id })
		times = append(times, end.at.Sub(began))
	}
	b.Logf("death to stream: p50 %v, p99 %v", quantile(times, 0.5), quantile(times, 0.99))
	b.ReportMetric(milliseconds(quantile(times, 0.5)), "p50-ms")
	b.ReportMetric(milliseconds(quantile(times, 0.99)), "p99-ms")
}
