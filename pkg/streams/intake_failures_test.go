package streams

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

var unavailable = &command.Error{Code: v1alpha1.CodeServiceUnavailable, Message: "away", Retryable: true}

func within(timeout time.Duration) func(*IntakeOptions) {
	return func(o *IntakeOptions) { o.JobTimeout = timeout }
}

func TestEntryThatWasReadAndNotAcceptedIsTakenOver(t *testing.T) {
	e := newEdge(t)
	first := e.intake("one")
	e.quiet()
	ghost := func() {
		read, err := e.redis.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: "ghost", Streams: []string{StartJobs, ">"}, Block: -1,
		}).Result()
		require.NoError(t, err)
		require.Len(t, read[0].Messages, 1)
	}
	first.end()
	e.start("before", "chess")
	ghost()
	e.intake("two")
	e.of("before", 1)

	// One that does not know yet that it is the reader no longer.
	require.Eventually(t, func() bool {
		e.start("meanwhile", "draughts")
		read, err := e.redis.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: "ghost", Streams: []string{StartJobs, ">"}, Block: -1,
		}).Result()
		return err == nil && len(read[0].Messages) > 0
	}, soon, time.Millisecond, "the ghost is faster at some time")
	e.quiet()
	require.Eventually(t, func() bool {
		pending, err := e.redis.XPending(t.Context(), StartJobs, group).Result()
		return err == nil && pending.Count == 0
	}, soon, 5*time.Millisecond)
	require.Equal(t, []string{"meanwhile"}, e.standing("draughts"))
	require.Equal(t, []string{"before"}, e.standing("chess"))
	require.Zero(t, e.logged("entries went from a stream before they were read"))
}

func TestEntryThatWasAcceptedAndNotAcknowledgedIsAnsweredOnce(t *testing.T) {
	e := newEdge(t)
	e.intake("one").end()
	_, err := e.jobs.Pool.Exec(t.Context(), "TRUNCATE stream_offsets") // it was all read, and the database does not say so
	require.NoError(t, err)
	one := e.intake("one")
	e.start("job-1", "chess")
	e.add(StartJobs, "no", "job")
	e.start("job-1", "chess")
	e.quiet()
	told := len(e.results())
	one.end()
	_, err = e.jobs.Pool.Exec(t.Context(), "TRUNCATE stream_offsets")
	require.NoError(t, err)
	e.intake("two")
	e.quiet()
	require.Len(t, e.results(), told+1, "that of the last quiet")
	require.Equal(t, []string{"job-1"}, e.standing("chess"))
}

func TestRedisRestarted(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.start("before", "chess")
	e.of("before", 1)
	for n := range 2 {
		e.server.Kill(t)
		require.Eventually(t, func() bool { return e.logged("reading jobs is held up") == n+1 }, soon, time.Millisecond)
		e.server.Start(t)
		e.start(fmt.Sprint("after-", n), "draughts")
		e.of(fmt.Sprint("after-", n), 1)
		require.Eventually(t, func() bool { return e.logged("reading jobs again") == n+1 }, soon, time.Millisecond)
	}
	require.Equal(t, 2, e.logged("reading jobs is held up"), "once a transition")
}

func TestGroupDeleted(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.start("before", "chess")
	e.quiet()
	told := len(e.results())
	require.NoError(t, e.redis.XGroupDestroy(t.Context(), StartJobs, group).Err())
	e.start("after", "chess")
	e.of("after", 1)
	require.Len(t, e.results(), told+1)
	require.Equal(t, 1, e.logged("the consumer group of a stream was gone, and is there again"))
}

func TestStreamTrimmedPastTheOffset(t *testing.T) {
	e := newEdge(t)
	first := e.intake("one")
	e.quiet()
	first.end()
	for n := range 10 {
		e.start(fmt.Sprint("job-", n), fmt.Sprint("game-", n))
	}
	require.NoError(t, e.redis.XTrimMaxLen(t.Context(), StartJobs, 3).Err())
	second := e.intake("two")
	for n := 7; n < 10; n++ {
		e.of(fmt.Sprint("job-", n), 1)
	}
	require.Equal(t, 7.0, testutil.ToFloat64(second.metrics.missed.WithLabelValues(StartJobs)))
	require.Equal(t, 1, e.logged("entries went from a stream before they were read"))

	second.end()
	for n := range 4 {
		e.start(fmt.Sprint("gone-", n), fmt.Sprint("game-", n))
	}
	require.NoError(t, e.redis.XTrimMaxLen(t.Context(), StartJobs, 0).Err())
	third := e.intake("three")
	e.quiet()
	require.Equal(t, 4.0, testutil.ToFloat64(third.metrics.missed.WithLabelValues(StartJobs)))
	e.quiet()
	require.Equal(t, 4.0, testutil.ToFloat64(third.metrics.missed.WithLabelValues(StartJobs)), "they are missed once")
}

func TestStreamFlushed(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.start("before", "chess")
	e.quiet()
	told := len(e.results())
	e.server.Flush(t)
	e.start("after", "chess")
	e.start("before", "chess")
	e.of("after", 1)
	require.Equal(t, v1alpha1.CodeReplayNoOp, e.of("before", 2)[1].ErrorCode)
	require.Len(t, e.results(), told+2)
	require.Equal(t, []string{"before", "after"}, e.standing("chess"))
}

func TestStreamFlushedAndEntriesWithLowerIDs(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.quiet()
	e.server.Flush(t)
	require.NoError(t, e.redis.XAdd(t.Context(), &redis.XAddArgs{
		Stream: StartJobs, ID: "5-1", Values: job("low", "chess", "image_ref", "galaxy/demo-game:1.0.0"),
	}).Err())
	e.of("low", 1)
	require.NotZero(t, e.logged("a stream was emptied, or replaced by an older copy: what was not read before is lost"))
}

func TestRedisReplacedByAnOlderSnapshot(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.start("kept", "chess")
	e.add(StartJobs, "no", "job")
	e.quiet()
	before := e.server.Snapshot(t)
	e.start("lost", "draughts")
	e.quiet()
	told := e.results()
	e.server.Replace(t, before)
	require.Eventually(t, func() bool {
		return e.logged("a stream was emptied, or replaced by an older copy: what was not read before is lost") > 0
	}, soon, 5*time.Millisecond)
	e.start("new", "chess")
	e.start("lost", "draughts")
	e.of("new", 1)
	require.Equal(t, v1alpha1.CodeReplayNoOp, e.of("lost", 2)[1].ErrorCode)
	require.Len(t, e.results(), len(told)+2, "what was seen before is answered no second time")
	require.Equal(t, []string{"kept", "new"}, e.standing("chess"))
}

func TestStartAndStopInOrder(t *testing.T) {
	e := newEdge(t)
	e.intake("one").end()
	var wished []string
	for n := range 20 {
		id := fmt.Sprintf("job-%02d", n)
		wished = append(wished, id)
		values := job(id, "chess", "image_ref", "galaxy/demo-game:1.0.0")
		require.NoError(t, e.redis.XAdd(t.Context(), &redis.XAddArgs{
			Stream: jobStreams[n%2], ID: fmt.Sprintf("%d-0", 1764000000000+n), Values: values,
		}).Err())
	}
	e.intake("one")
	e.intake("two")
	for _, id := range wished {
		e.of(id, 1)
	}
	require.Equal(t, v1alpha1.StateStopped, e.Seen("chess").Spec.State)
	require.Equal(t, wished, e.standing("chess"))
}

func TestOvertakenJobIsAConflict(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.start("declared", "chess")
	e.of("declared", 1)
	e.stop("later", "chess")
	e.of("later", 1)
	_, err := e.jobs.Pool.Exec(t.Context(), `INSERT INTO jobs (id, stream, entry, verb, game, caller, image, spec, deadline)
		SELECT 'earlier', stream, (entry_ms - 1) || '-0', 'start', game, caller, 'galaxy/demo-game:1.0.0', '', deadline FROM jobs WHERE id = 'declared'`)
	require.NoError(t, err)
	require.Equal(t, v1alpha1.CodeConflict, e.of("earlier", 1)[0].ErrorCode)
	require.Equal(t, v1alpha1.StateStopped, e.Seen("chess").Spec.State)
}

func TestAPIAwayForAWhile(t *testing.T) {
	e := newEdge(t)
	var tries atomic.Int64
	e.fault = func(command.Verb, command.Wish) error {
		if tries.Add(1) <= 2 {
			return unavailable
		}
		return nil
	}
	e.intake("one")
	e.start("job-1", "chess")
	require.Equal(t, command.Success, e.of("job-1", 1)[0].Outcome)
	require.EqualValues(t, 3, tries.Load())
}

func TestAPIAwayUntilTheDeadline(t *testing.T) {
	e := newEdge(t)
	e.fault = func(_ command.Verb, wish command.Wish) error {
		if wish.Game == "chess" {
			return unavailable
		}
		return nil
	}
	e.intake("one", within(time.Second))
	e.start("job-1", "chess")
	e.start("job-2", "draughts")
	require.Equal(t, command.Success, e.of("job-2", 1)[0].Outcome)
	require.Equal(t, v1alpha1.CodeServiceUnavailable, e.of("job-1", 1)[0].ErrorCode)
}

func TestRequestThatIsRefused(t *testing.T) {
	e := newEdge(t)
	e.fault = func(command.Verb, command.Wish) error {
		return &command.Error{Code: v1alpha1.CodeSemverPatchOnly, Field: "spec.image", Message: "too far"}
	}
	e.intake("one")
	e.start("job-1", "chess")
	told := e.of("job-1", 1)[0]
	require.Equal(t, v1alpha1.CodeSemverPatchOnly, told.ErrorCode)
	require.Equal(t, "spec.image: too far", told.Message)
}

func TestNothingComesOfItUntilTheDeadline(t *testing.T) {
	e := newEdge(t)
	e.idle = true
	e.intake("one", within(500*time.Millisecond))
	e.start("job-1", "chess")
	require.Equal(t, v1alpha1.CodeTimeout, e.of("job-1", 1)[0].ErrorCode)
	e.settle("chess")
	e.quietIdle()
	e.of("job-1", 1)
}

// quietIdle is quiet where nobody carries out what is written.
func (e *edge) quietIdle() {
	id := fmt.Sprintf("no-record-%d", time.Now().UnixNano())
	e.stop(id, id)
	e.of(id, 1)
}

func TestRecordDeletedBeforeItWasDone(t *testing.T) {
	e := newEdge(t)
	e.idle = true
	e.intake("one")
	e.start("job-1", "chess")
	require.Eventually(t, func() bool { return len(e.standing("chess")) == 1 }, soon, time.Millisecond)
	e.delete("chess")
	require.Equal(t, v1alpha1.CodeNotFound, e.of("job-1", 1)[0].ErrorCode)
}

func TestManagerThatVanishedWithClaimedJobs(t *testing.T) {
	e := newEdge(t)
	e.intake("one").end()
	e.start("job-1", "chess")
	jobs := e.jobs
	reader, err := jobs.Hold(t.Context())
	require.NoError(t, err)
	_, err = reader.Accept(t.Context(), []journal.Arrival{{Job: journal.Job{
		ID: "job-1", Stream: StartJobs, Entry: "1-1", Verb: "start", Game: "chess", Caller: "lobby", Image: "galaxy/demo-game:1.0.0",
	}}}, time.Minute, nil)
	require.NoError(t, err)
	reader.Release()
	claims, err := jobs.Claim(t.Context(), "ghost", 300*time.Millisecond, 10)
	require.NoError(t, err)
	require.Len(t, claims, 1)
	again, err := jobs.Claim(t.Context(), "other", time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, again, "they are in somebody's hands")
	e.intake("two")
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(e.results(), func(r JobResult) bool { return r.JobID == "job-1" && r.ErrorCode == "" })
	}, soon, 5*time.Millisecond)
}

func TestManagerThatVanishedWithAcceptedJobs(t *testing.T) {
	e := newEdge(t)
	e.idle = true
	one := e.intake("one")
	e.start("job-1", "chess")
	require.Eventually(t, func() bool {
		accepted, err := e.jobs.Accepted(context.Background())
		return err == nil && len(accepted) == 1
	}, soon, time.Millisecond)
	one.end()
	e.settle("chess")
	e.intake("two")
	require.Equal(t, command.Success, e.of("job-1", 1)[0].Outcome)
}

func TestManagersShareTheWork(t *testing.T) {
	e := newEdge(t)
	gate := make(chan struct{})
	e.fault = func(command.Verb, command.Wish) error { <-gate; return nil }
	e.intake("one")
	e.intake("two")
	const jobs = 2 * applyTogether
	for n := range jobs {
		e.start(fmt.Sprint("job-", n), fmt.Sprint("game-", n))
	}
	shared := func() (managers int) {
		require.NoError(t, e.jobs.Pool.QueryRow(context.Background(), "SELECT count(DISTINCT claimed_by) FROM jobs WHERE claimed_by <> ''").Scan(&managers))
		return managers
	}
	require.Eventually(t, func() bool { return shared() == 2 }, soon, 5*time.Millisecond)
	close(gate)
	for n := range jobs {
		e.of(fmt.Sprint("job-", n), 1)
		require.Len(t, e.standing(fmt.Sprint("game-", n)), 1)
	}
}

func TestDatabaseRestarted(t *testing.T) {
	e := newEdge(t)
	database := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	pool, err := postgres.Open(t.Context(), database.URL())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, postgres.Migrate(t.Context(), pool))
	e.jobs.Pool = pool
	e.intake("one")
	e.start("before", "chess")
	e.of("before", 1)
	database.Kill(t)
	e.start("meanwhile", "draughts")
	require.Eventually(t, func() bool { return e.logged("reading jobs is held up") == 1 }, soon, time.Millisecond)
	database.Start(t)
	e.of("meanwhile", 1)
	require.Eventually(t, func() bool { return e.logged("reading jobs again") == 1 }, soon, time.Millisecond)
	require.Equal(t, 1, e.logged("reading jobs is held up"), "once a transition")
	require.Equal(t, []string{"meanwhile"}, e.standing("draughts"))
}

func TestImageComesFromTheLobby(t *testing.T) {
	e := newEdge(t)
	var asked atomic.Int64
	lobby := func(o *IntakeOptions) {
		o.Image = func(_ context.Context, game string) (string, error) {
			switch asked.Add(1); game {
			case "unknown":
				return "", &command.Error{Code: v1alpha1.CodeNotFound, Message: "the Lobby has no such game"}
			default:
				return "galaxy/demo-game:1.0.1", nil
			}
		}
	}
	e.intake("one", lobby)
	e.add(StartJobs, job("job-1", "chess")...)
	e.of("job-1", 1)
	require.Equal(t, "galaxy/demo-game:1.0.1", e.Seen("chess").Spec.Image)
	e.add(StartJobs, job("job-2", "unknown")...)
	require.Equal(t, v1alpha1.CodeNotFound, e.of("job-2", 1)[0].ErrorCode)
	before := asked.Load()
	e.add(StartJobs, job("job-3", "go", "spec", `{"image":"galaxy/demo-game:1.0.0"}`)...)
	e.of("job-3", 1)
	require.Equal(t, before, asked.Load(), "the job says it")
}

func TestLobbyAway(t *testing.T) {
	e := newEdge(t)
	var asked atomic.Int64
	e.intake("one", within(time.Second), func(o *IntakeOptions) {
		o.Image = func(_ context.Context, game string) (string, error) {
			if game == "chess" && asked.Add(1) == 1 || game == "draughts" {
				return "", unavailable
			}
			return "galaxy/demo-game:1.0.1", nil
		}
	})
	e.add(StartJobs, job("for-a-while", "chess")...)
	require.Equal(t, command.Success, e.of("for-a-while", 1)[0].Outcome)
	e.add(StartJobs, job("for-ever", "draughts")...)
	require.Equal(t, v1alpha1.CodeServiceUnavailable, e.of("for-ever", 1)[0].ErrorCode)
}

func TestNoImageAndNoLobby(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.add(StartJobs, job("job-1", "chess")...)
	told := e.of("job-1", 1)[0]
	require.Equal(t, v1alpha1.CodeInvalidRequest, told.ErrorCode)
	require.Contains(t, told.Message, "image_ref")
}
