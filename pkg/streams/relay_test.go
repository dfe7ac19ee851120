package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

const (
	events  = "runtime:health_events"
	intents = "notification:intents"
	results = "runtime:job_results"
)

// soon is how long anything may take on a busy machine.
const soon = 30 * time.Second

func TestMain(m *testing.M) {
	if arguments := os.Getenv(intakeHere); arguments != "" {
		os.Exit(intakeProcess(arguments))
	}
	postgrestest.Main(m)
}

// running is a relay in a test.
type running struct {
	*Relay
	end func()
}

// start runs a relay until the test ends, or end is called. It looks only when it
// is told, unless poll says otherwise.
func start(t testing.TB, outbox journal.Outbox, server *redistest.Server, change ...func(*RelayOptions)) running {
	client, err := Open(server.URL())
	require.NoError(t, err)
	options := RelayOptions{Outbox: outbox, Redis: client, Log: logr.Discard(), Poll: time.Hour}
	for _, c := range change {
		c(&options)
	}
	relay := NewRelay(options)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := relay.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	end := sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(func() {
		end()
		_ = client.Close()
	})
	return running{relay, end}
}

func polling(o *RelayOptions) { o.Poll = 20 * time.Millisecond }

// lines has a relay's log counted by message.
type lines struct {
	mu   sync.Mutex
	seen []string
}

func (l *lines) log(o *RelayOptions) {
	o.Log = funcr.NewJSON(func(line string) {
		var entry struct{ Msg string }
		_ = json.Unmarshal([]byte(line), &entry) // of funcr's own making
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, entry.Msg)
	}, funcr.Options{})
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

// message is the n-th that a game has to tell on a stream.
type message struct {
	stream, game string
	n            int
}

func (m message) id() string {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, m)).String()
}

func write(ctx context.Context, outbox journal.Outbox, messages ...message) error {
	for _, m := range messages {
		_, err := outbox.Pool.Exec(ctx, `INSERT INTO outbox (id, stream, game, payload) VALUES ($1, $2, $3, jsonb_build_object('type', 'told', 'n', $4::int))
			ON CONFLICT DO NOTHING`, m.id(), m.stream, m.game, m.n)
		if err != nil {
			return err
		}
	}
	return nil
}

func put(t testing.TB, outbox journal.Outbox, messages ...message) {
	t.Helper()
	require.NoError(t, write(t.Context(), outbox, messages...))
}

// numbers makes messages of one game, from first to last.
func numbers(stream, game string, first, last int) (all []message) {
	for n := first; n <= last; n++ {
		all = append(all, message{stream, game, n})
	}
	return all
}

// told are the numbers that a reader of a stream has of a game who drops repeats.
func told(t testing.TB, server *redistest.Server, stream, game string) (numbers []int) {
	entries, err := server.Client(t).XRange(context.Background(), stream, "-", "+").Result()
	if err != nil && redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil
	}
	require.NoError(t, err)
	seen := map[any]bool{}
	for _, e := range entries {
		if e.Values["game"] != game || seen[e.Values["id"]] {
			continue
		}
		seen[e.Values["id"]] = true
		var payload struct{ N int }
		require.NoError(t, json.Unmarshal([]byte(e.Values["payload"].(string)), &payload))
		require.Equal(t, message{stream, game, payload.N}.id(), e.Values["id"], "a message has one id, however often it is told")
		numbers = append(numbers, payload.N)
	}
	return numbers
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func requireTold(t testing.TB, server *redistest.Server, stream, game string, want []int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(told(t, server, stream, game)) >= len(want) }, soon, 10*time.Millisecond)
	require.Equal(t, want, told(t, server, stream, game))
}

func waiting(t testing.TB, outbox journal.Outbox) int {
	n, _, err := outbox.Backlog(t.Context())
	require.NoError(t, err)
	return n
}

func TestWhatAnEntryLooksLike(t *testing.T) {
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t)
	relay := start(t, outbox, server, polling)
	m := message{events, "default/chess", 1}
	put(t, outbox, m)
	requireTold(t, server, events, "default/chess", upTo(1))
	entries, err := server.Client(t).XRange(t.Context(), events, "-", "+").Result()
	require.NoError(t, err)
	values := entries[0].Values
	require.NotEmpty(t, values["created_at_ms"])
	delete(values, "created_at_ms")
	require.Equal(t, map[string]any{"id": m.id(), "type": "told", "game": "default/chess", "payload": `{"n": 1, "type": "told"}`}, values)
	require.Eventually(t, func() bool { return waiting(t, outbox) == 0 }, soon, 10*time.Millisecond)
	require.InDelta(t, 1, testutil.ToFloat64(relay.metrics.published.WithLabelValues(events)), 0)
}

// Whoever writes, from whichever process, wakes the one that publishes.
func TestWhoeverWritesWakesTheRelay(t *testing.T) {
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t)
	start(t, outbox, server) // it would look again in an hour
	for n := range 5 {
		put(t, outbox, message{events, "default/chess", n + 1})
		requireTold(t, server, events, "default/chess", upTo(n+1))
	}
}

func TestStreamsAreKeptShort(t *testing.T) {
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t)
	put(t, outbox, numbers(events, "default/chess", 1, 3*together)...)
	start(t, outbox, server, func(o *RelayOptions) { o.MaxLen = 100 })
	require.Eventually(t, func() bool { return waiting(t, outbox) == 0 }, soon, 10*time.Millisecond)
	length, err := server.Client(t).XLen(t.Context(), events).Result()
	require.NoError(t, err)
	require.GreaterOrEqual(t, length, int64(100))
	require.Less(t, length, int64(300))
}

// Writers and relays at once: a game's messages keep their order on each stream.
func TestOrderUnderConcurrency(t *testing.T) {
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t)
	first := start(t, outbox, server, polling)
	start(t, outbox, server, polling) // the lead went on, and the one before did not hear of it
	var writers sync.WaitGroup
	for _, game := range []string{"default/a", "default/b", "default/c", "default/d"} {
		writers.Go(func() {
			for n := range 50 {
				for _, stream := range []string{events, intents, results} {
					if err := write(t.Context(), outbox, message{stream, game, n + 1}); err != nil {
						t.Error(err)
					}
				}
				if n == 25 && game == "default/a" {
					first.end()
				}
			}
		})
	}
	writers.Wait()
	for _, game := range []string{"default/a", "default/b", "default/c", "default/d"} {
		for _, stream := range []string{events, intents, results} {
			requireTold(t, server, stream, game, upTo(50))
		}
	}
}

// TestNothingIsLost has a thousand messages written while Redis and PostgreSQL are
// killed, and relays end, at random.
func TestNothingIsLost(t *testing.T) {
	database, server := postgrestest.StartServer(t, postgrestest.ServerOptions{}), redistest.StartServer(t)
	pool, err := postgres.Open(t.Context(), database.URL())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, postgres.Migrate(t.Context(), pool))
	outbox := journal.Outbox{Pool: pool}
	relay := start(t, outbox, server, polling)

	const games, each = 10, 100
	pace := make(chan struct{})
	var writers sync.WaitGroup
	for g := range games {
		writers.Go(func() {
			for _, m := range numbers(events, fmt.Sprint("default/g", g), 1, each) {
				<-pace
				for write(context.Background(), outbox, m) != nil { // PostgreSQL is away
					<-pace
				}
			}
		})
	}
	written := make(chan struct{})
	go func() {
		writers.Wait()
		close(written)
	}()
	faults := []func(){
		func() { server.Kill(t); server.Start(t) },
		func() { server.Stop(t); server.Start(t) },
		func() { database.Kill(t); database.Start(t) },
		func() { relay.end(); relay = start(t, outbox, server, polling) },
		func() { server.Hang(t); server.Resume(t) },
	}
	for n := 0; ; n++ {
		if n%100 == 99 {
			faults[rand.N(len(faults))]()
		}
		select {
		case pace <- struct{}{}:
			continue
		case <-written:
		}
		break
	}
	for g := range games {
		requireTold(t, server, events, fmt.Sprint("default/g", g), upTo(each))
	}
	require.Eventually(t, func() bool { return waiting(t, outbox) == 0 }, soon, 10*time.Millisecond)
}

// A transition is one line, and so is its end.
func TestRedisAway(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(*redistest.Server, testing.TB)
	}{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Start},
		"hangs":  {(*redistest.Server).Hang, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			outbox, server, log := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t), &lines{}
			relay := start(t, outbox, server, polling, log.log)
			put(t, outbox, numbers(events, "default/chess", 1, 1)...)
			requireTold(t, server, events, "default/chess", upTo(1))

			fault.begin(server, t)
			put(t, outbox, numbers(events, "default/chess", 2, 5)...)
			require.Eventually(t, func() bool { return testutil.ToFloat64(relay.metrics.failures) >= 2 }, soon, 10*time.Millisecond)
			require.Equal(t, []string{"messages cannot be published, they wait"}, log.all())
			require.Eventually(t, func() bool { return testutil.ToFloat64(relay.metrics.waiting) == 4 }, soon, 10*time.Millisecond)
			require.Positive(t, testutil.ToFloat64(relay.metrics.age))

			fault.end(server, t)
			requireTold(t, server, events, "default/chess", upTo(5))
			require.Eventually(t, func() bool { return len(log.all()) == 2 }, soon, 10*time.Millisecond)
			require.Equal(t, "messages are published again", log.all()[1])
			require.Eventually(t, func() bool { return testutil.ToFloat64(relay.metrics.waiting) == 0 }, soon, 10*time.Millisecond)
			require.Zero(t, testutil.ToFloat64(relay.metrics.age))
		})
	}
}

// What Redis acknowledged and lost is told again, in order and before what is new.
func TestWhatRedisLost(t *testing.T) {
	for name, lose := range map[string]func(testing.TB, *redistest.Server, redistest.Snapshot){
		"emptied":  func(t testing.TB, s *redistest.Server, _ redistest.Snapshot) { s.Flush(t) },
		"replaced": func(t testing.TB, s *redistest.Server, before redistest.Snapshot) { s.Replace(t, before) },
	} {
		for _, relays := range []string{"one relay", "a successor"} {
			t.Run(name+", "+relays, func(t *testing.T) {
				outbox, server, log := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t), &lines{}
				relay := start(t, outbox, server, polling, log.log)
				put(t, outbox, numbers(events, "default/chess", 1, 3)...)
				requireTold(t, server, events, "default/chess", upTo(3))
				before := server.Snapshot(t)
				put(t, outbox, numbers(events, "default/chess", 4, 6)...)
				requireTold(t, server, events, "default/chess", upTo(6))
				require.Eventually(t, func() bool { return waiting(t, outbox) == 0 }, soon, 10*time.Millisecond)
				relay.end()

				lose(t, server, before)
				put(t, outbox, numbers(events, "default/chess", 7, 8)...)
				if relays == "one relay" {
					relay.Flush(t.Context())
				} else {
					start(t, outbox, server, polling, log.log)
				}
				requireTold(t, server, events, "default/chess", upTo(8))
				require.Equal(t, []string{"Redis lost messages that it had acknowledged, publishing them again"}, log.all())
			})
		}
	}
}

// What others delete is not lost: nothing is told again for it.
func TestWhatOthersDelete(t *testing.T) {
	outbox, server, log := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t), &lines{}
	relay := start(t, outbox, server, polling, log.log)
	put(t, outbox, numbers(events, "default/chess", 1, 3)...)
	requireTold(t, server, events, "default/chess", upTo(3))
	require.NoError(t, server.Client(t).XTrimMaxLen(t.Context(), events, 0).Err())
	put(t, outbox, numbers(events, "default/chess", 4, 4)...)
	requireTold(t, server, events, "default/chess", []int{4})
	require.Empty(t, log.all())
	require.Zero(t, testutil.ToFloat64(relay.metrics.recalled.WithLabelValues(events)))
}

// A stream that cannot be written to, here as its name is taken, costs itself alone.
func TestOneStreamOfWhichRedisWantsNothing(t *testing.T) {
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t)
	client := server.Client(t)
	require.NoError(t, client.Set(t.Context(), events, "taken", 0).Err())
	put(t, outbox, numbers(events, "default/chess", 1, 2*together)...)
	start(t, outbox, server, polling)
	put(t, outbox, numbers(intents, "default/chess", 1, 3)...)
	requireTold(t, server, intents, "default/chess", upTo(3))
	require.NoError(t, client.Del(t.Context(), events).Err())
	requireTold(t, server, events, "default/chess", upTo(2*together))
}

// What is written while everything ends is published all the same.
func TestFlush(t *testing.T) {
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t)
	relay := start(t, outbox, server)
	relay.end()
	put(t, outbox, numbers(events, "default/chess", 1, 2*together+1)...)
	relay.Flush(t.Context())
	require.Equal(t, upTo(2*together+1), told(t, server, events, "default/chess"))
	require.Zero(t, waiting(t, outbox))

	server.Kill(t)
	put(t, outbox, message{events, "default/chess", 2*together + 2})
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	relay.Flush(ctx)
	require.NoError(t, ctx.Err(), "it does not wait for a Redis that is away")
	require.Equal(t, 1, waiting(t, outbox))
}

// Whoever does not lead has nothing to flush.
func TestFlushWithoutTheLead(t *testing.T) {
	outbox, server := journal.Outbox{Pool: postgrestest.Schema(t)}, redistest.StartServer(t)
	put(t, outbox, message{events, "default/chess", 1})
	NewRelay(RelayOptions{Outbox: outbox, Redis: server.Client(t)}).Flush(t.Context())
	require.Empty(t, told(t, server, events, "default/chess"))
}

func TestOpenShowsNoPassword(t *testing.T) {
	for _, url := range []string{"redis://user:secret@host:port", "http://:secret@host", "secret", "redis://:secret@host/x", "unix://"} {
		_, err := Open(url)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "secret")
	}
	client, err := Open("rediss://user:secret@host:6380/1")
	require.NoError(t, err)
	require.NoError(t, client.Close())
}
