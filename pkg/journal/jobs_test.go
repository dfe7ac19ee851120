package journal

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

func arrival(id, entry, game string) Arrival {
	return Arrival{Job: Job{ID: id, Stream: "s", Entry: entry, Verb: "start", Game: game, Caller: "lobby"}}
}

func replyTo(job, text string) Reply {
	return Reply{ID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(job)).String(), Job: job, Stream: "results", Game: "default/chess", Payload: json.RawMessage(text)}
}

func holdJobsOf(t *testing.T, jobs Jobs) *Reader {
	t.Helper()
	var reader *Reader
	require.Eventually(t, func() (held bool) { // a session ends soon after its connection
		var err error
		reader, err = jobs.Hold(ctx)
		return err == nil && reader != nil
	}, 10*time.Second, time.Millisecond)
	return reader
}

func TestOneReadsJobs(t *testing.T) {
	jobs, elsewhere := Jobs{postgrestest.Schema(t)}, Jobs{postgrestest.Schema(t)}
	first := holdJobsOf(t, jobs)
	second, err := jobs.Hold(ctx)
	require.NoError(t, err)
	require.Nil(t, second)
	holdJobsOf(t, elsewhere).Release()
	require.NoError(t, first.Alive(ctx))
	first.Release()
	third := holdJobsOf(t, jobs)
	_, err = jobs.Pool.Exec(ctx, "SELECT pg_terminate_backend($1)", third.conn.Conn().PgConn().PID())
	require.NoError(t, err)
	_, err = third.Accept(ctx, []Arrival{arrival("late", "1-1", "chess")}, time.Minute, nil)
	require.Error(t, err, "who lost the lock accepts nothing")
	third.Release()
	holdJobsOf(t, jobs).Release()
	require.Zero(t, count(t, jobs.Pool, "jobs"))
}

func TestJobIsAcceptedOnce(t *testing.T) {
	jobs := Jobs{postgrestest.Schema(t)}
	reader := holdJobsOf(t, jobs)
	defer reader.Release()
	refused := arrival("bad", "2-1", "")
	refused.Reply = new(Reply)
	*refused.Reply = replyTo("bad", `{"outcome": "failure"}`)
	batch := []Arrival{arrival("good", "1-1", "chess"), refused, arrival("good", "3-1", "chess")}
	repeats, err := reader.Accept(ctx, batch, time.Minute, []Offset{{"s", "3-1", 3}})
	require.NoError(t, err)
	require.Equal(t, []Repeat{{Stream: "s", Entry: "3-1", ID: "good"}}, repeats)
	require.Equal(t, 2, count(t, jobs.Pool, "jobs"))
	require.Equal(t, 1, count(t, jobs.Pool, "outbox"))

	repeats, err = reader.Accept(ctx, append(batch, arrival("bad", "4-1", "chess")), time.Minute, []Offset{{"s", "4-1", 4}})
	require.NoError(t, err)
	require.Len(t, repeats, 2)
	require.JSONEq(t, `{"outcome": "failure"}`, string(repeats[1].Result))
	require.Equal(t, 2, count(t, jobs.Pool, "jobs"))
	require.Equal(t, 1, count(t, jobs.Pool, "outbox"))
	offsets, err := reader.Offsets(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]Offset{"s": {"s", "4-1", 4}}, offsets)
}

func TestJobsAreClaimedInOrderAndAnsweredOnce(t *testing.T) {
	jobs := Jobs{postgrestest.Schema(t)}
	reader := holdJobsOf(t, jobs)
	defer reader.Release()
	_, err := reader.Accept(ctx, []Arrival{
		arrival("second", "10-1", "chess"), arrival("first", "9-1", "chess"), arrival("other", "18446744073709551615-1", "draughts"),
	}, time.Minute, nil)
	require.NoError(t, err)
	claim := func(by string, want ...string) {
		t.Helper()
		claims, err := jobs.Claim(ctx, by, time.Minute, 10)
		require.NoError(t, err)
		var ids []string
		for _, c := range claims {
			ids = append(ids, c.ID)
		}
		require.Equal(t, want, ids)
	}
	claim("one", "first", "other")
	claim("two")
	claim("one", "first", "other") // it was killed, and is back
	_, err = jobs.Settle(ctx, []Tried{{Job: "first", Accepted: json.RawMessage(`{}`)}, {Job: "other", Delay: time.Hour}}, nil)
	require.NoError(t, err)
	claim("two", "second")

	answered, err := jobs.Settle(ctx, nil, []Reply{replyTo("first", `{"n": 1}`)})
	require.NoError(t, err)
	require.Equal(t, []string{"first"}, answered)
	answered, err = jobs.Settle(ctx, nil, []Reply{replyTo("first", `{"n": 2}`), replyTo("second", `{"n": 1}`)})
	require.NoError(t, err)
	require.Equal(t, []string{"second"}, answered)
	require.Equal(t, 2, count(t, jobs.Pool, `jobs WHERE result = '{"n": 1}'`))
	require.Equal(t, 2, count(t, jobs.Pool, `outbox WHERE payload = '{"n": 1}'`))
	open, _, err := jobs.Open(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, open)
}
