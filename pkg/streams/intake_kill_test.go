package streams

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres"
)

// intakeHere makes the test binary a manager's intake, on the database and the Redis
// that the variable names, under its name.
const intakeHere = "STREAMS_TEST_INTAKE"

func intakeProcess(arguments string) int {
	where := strings.Fields(arguments)
	pool, err := postgres.Open(context.Background(), where[0])
	if err != nil {
		panic(err)
	}
	client, err := Open(where[1])
	if err != nil {
		panic(err)
	}
	table := tableWorld{newWorld(), journal.Jobs{Pool: pool}}
	intake := NewIntake(IntakeOptions{
		Redis: client, Jobs: table.jobs, Commands: table, Records: table, Namespace: "default", Manager: where[2],
		Glance: 20 * time.Millisecond, Log: logr.Discard(),
	})
	os.Stdout.WriteString("taking jobs\n")
	_ = intake.Start(context.Background()) // until it is killed
	return 0
}

// tableWorld is a world that outlives processes, in a table. Each other job is done
// at once, and the others when their records are asked for.
type tableWorld struct {
	*world
	jobs journal.Jobs
}

const wishesTable = "CREATE TABLE wishes (id text PRIMARY KEY, game text NOT NULL)"

func (w tableWorld) Start(ctx context.Context, start command.Start) (command.Answer, error) {
	_, err := w.jobs.Pool.Exec(ctx, "INSERT INTO wishes VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", start.ID, start.Game)
	if err != nil {
		return command.Answer{}, &command.Error{Code: v1alpha1.CodeServiceUnavailable, Retryable: true}
	}
	record := w.record(start.Game)
	accepted := command.Accepted{Verb: command.VerbStart, Game: start.Game, UID: record.UID, Generation: 1}
	if rand.N(2) == 0 {
		record.Status = v1alpha1.GameRuntimeStatus{}
	}
	return command.Answer{Accepted: accepted, Record: record}, nil
}

func (w tableWorld) Stop(context.Context, command.Wish) (command.Answer, error) {
	return command.Answer{}, errors.New("nobody asks for that")
}

func (w tableWorld) record(game string) *v1alpha1.GameRuntime {
	record := &v1alpha1.GameRuntime{}
	record.Name, record.UID, record.Generation, record.Spec.State = game, "uid", 1, v1alpha1.StateRunning
	w.settleLocked(record)
	return record
}

func (w tableWorld) Seen(string) *v1alpha1.GameRuntime { return nil } // no cache

func (w tableWorld) Stored(ctx context.Context, game string) (*v1alpha1.GameRuntime, error) {
	var there bool
	if err := w.jobs.Pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM wishes WHERE game = $1)", game).Scan(&there); err != nil || !there {
		return nil, err
	}
	return w.record(game), nil
}

// process is an intake in a process of its own, that ends with the test.
func (e *edge) process(manager string) (kill func()) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), intakeHere+"="+strings.Join([]string{e.jobs.Pool.Config().ConnString(), e.server.URL(), manager}, " "))
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	require.NoError(e.t, err)
	require.NoError(e.t, command.Start())
	kill = sync.OnceFunc(func() {
		_ = command.Process.Signal(syscall.SIGKILL)
		_ = command.Wait() // it was killed
	})
	e.t.Cleanup(kill)
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(e.t, err)
	return kill
}

// TestKilledManagersAnswerEachJobOnce has two managers at work, of which one after
// the other is killed, and Redis too, while jobs come in, each of them twice.
func TestKilledManagersAnswerEachJobOnce(t *testing.T) {
	e := newEdge(t)
	_, err := e.jobs.Pool.Exec(t.Context(), wishesTable)
	require.NoError(t, err)
	const jobs = 200
	kills := []func(){e.process("one"), e.process("two")}
	for n := range jobs {
		for range 2 {
			require.Eventually(t, func() bool {
				return e.redis.XAdd(t.Context(), &redis.XAddArgs{
					Stream: StartJobs, Values: job(fmt.Sprint("job-", n), fmt.Sprint("game-", n), "image_ref", "galaxy/demo-game:1.0.0"),
				}).Err() == nil
			}, soon, time.Millisecond)
		}
		switch n {
		case 50, 150:
			e.server.Kill(t)
			e.server.Start(t)
		case 30, 90, 120:
			kills[0]()
			kills = append(kills[1:], e.process(fmt.Sprint("after-", n)))
		}
	}
	e.lapse()
	require.Eventually(t, func() bool { return e.count("jobs WHERE result IS NOT NULL") == jobs }, 2*soon, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		pending, err := e.redis.XInfoGroups(t.Context(), StartJobs).Result()
		return err == nil && pending[0].Pending == 0 && pending[0].Lag == 0
	}, soon, 20*time.Millisecond)
	own, replays := map[string]int{}, 0
	for _, r := range e.results() {
		require.Equal(t, command.Success, r.Outcome, "%+v", r)
		if r.ErrorCode == v1alpha1.CodeReplayNoOp {
			replays++
			continue
		}
		own[r.JobID]++
		require.Equal(t, resultID(r.JobID), r.ResultID)
	}
	require.Len(t, own, jobs)
	for id, n := range own {
		require.Equal(t, 1, n, id)
	}
	require.GreaterOrEqual(t, replays, jobs, "an entry whose XADD was not acknowledged may be there once more")
	require.Equal(t, jobs, e.count("wishes"))
}

// lapse ends the leases of those that were killed.
func (e *edge) lapse() {
	_, err := e.jobs.Pool.Exec(context.Background(), "UPDATE jobs SET claimed_until = '-infinity' WHERE accepted IS NULL AND result IS NULL")
	require.NoError(e.t, err)
}

func (e *edge) count(of string) (n int) {
	require.NoError(e.t, e.jobs.Pool.QueryRow(context.Background(), "SELECT count(*) FROM "+of).Scan(&n))
	return n
}
