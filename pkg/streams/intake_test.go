package streams

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// world stands for the records and for who carries them out. It survives an intake
// that is killed.
type world struct {
	mu      sync.Mutex
	records map[string]*v1alpha1.GameRuntime
	// wishes are those that stand, by game, in their order.
	wishes map[string][]string
	// fault is asked before a write.
	fault func(verb command.Verb, wish command.Wish) error
	// idle: nobody carries out what is written.
	idle bool
	told []func(game string)
}

func newWorld() *world {
	return &world{records: map[string]*v1alpha1.GameRuntime{}, wishes: map[string][]string{}}
}

func (w *world) Start(_ context.Context, start command.Start) (command.Answer, error) {
	return w.write(command.VerbStart, start.Wish, func(record *v1alpha1.GameRuntime) error {
		if start.Image == "" && record.Spec.Image == "" {
			return &command.Error{Code: v1alpha1.CodeInvalidRequest, Field: "image", Message: "needed"}
		}
		record.Spec.State = v1alpha1.StateRunning
		if start.Image != "" {
			record.Spec.Image = start.Image
		}
		return nil
	})
}

func (w *world) Stop(_ context.Context, wish command.Wish) (command.Answer, error) {
	return w.write(command.VerbStop, wish, func(record *v1alpha1.GameRuntime) error {
		if record.UID == "" {
			return &command.Error{Code: v1alpha1.CodeNotFound, Message: "the game has no record"}
		}
		record.Spec.State = v1alpha1.StateStopped
		return nil
	})
}

func (w *world) write(verb command.Verb, wish command.Wish, change func(*v1alpha1.GameRuntime) error) (command.Answer, error) {
	if w.fault != nil {
		if err := w.fault(verb, wish); err != nil {
			return command.Answer{}, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	record := &v1alpha1.GameRuntime{}
	if there := w.records[wish.Game]; there != nil {
		record = there.DeepCopy()
	}
	accepted := command.Accepted{Verb: verb, Game: wish.Game}
	if !slices.Contains(w.wishes[wish.Game], wish.ID) {
		if err := change(record); err != nil {
			return command.Answer{}, err
		}
		record.Name, record.UID = wish.Game, types.UID("uid of "+wish.Game)
		record.Generation++
		w.wishes[wish.Game] = append(w.wishes[wish.Game], wish.ID)
		w.records[wish.Game] = record
	}
	accepted.UID, accepted.Generation, accepted.Image = record.UID, record.Generation, record.Spec.Image
	if !w.idle {
		w.settleLocked(record)
	}
	return command.Answer{Accepted: accepted, Record: record.DeepCopy()}, nil
}

// settleLocked has the engine show what a record asks for.
func (w *world) settleLocked(record *v1alpha1.GameRuntime) {
	record.Status.ObservedGeneration = record.Generation
	record.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionEngineReachable, Status: metav1.ConditionTrue}}
	record.Status.Container = &v1alpha1.ContainerStatus{State: v1alpha1.ContainerRunning}
	if record.Spec.State == v1alpha1.StateStopped {
		record.Status.Container.State = v1alpha1.ContainerStopped
	}
}

// settle has the engine show what a game's record asks for.
func (w *world) settle(game string) {
	w.mu.Lock()
	record := w.records[game].DeepCopy()
	w.settleLocked(record)
	w.records[game] = record
	told := slices.Clone(w.told)
	w.mu.Unlock()
	for _, tell := range told {
		tell(game)
	}
}

func (w *world) delete(game string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.records, game)
}

func (w *world) Seen(game string) *v1alpha1.GameRuntime {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records[game]
}

func (w *world) Stored(_ context.Context, game string) (*v1alpha1.GameRuntime, error) {
	return w.Seen(game), nil
}

func (w *world) standing(game string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.wishes[game])
}

// edge is Redis, PostgreSQL and the world, with no intake yet.
type edge struct {
	*world
	t      testing.TB
	server *redistest.Server
	redis  *redis.Client
	jobs   journal.Jobs
	schema *jsonschema.Schema // of results
	lines
}

func newEdge(t testing.TB) *edge {
	server := redistest.StartServer(t)
	client, err := Open(server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(filepath.Join("..", "..", "config", "streams", "job_results.schema.json"))
	require.NoError(t, err)
	return &edge{world: newWorld(), t: t, server: server, redis: client, jobs: journal.Jobs{Pool: postgrestest.Schema(t)}, schema: schema}
}

// takes is an intake in a test.
type takes struct {
	*Intake
	end func()
}

// intake runs a manager's intake until the test ends, or end is called, which cuts
// off whatever it is doing.
func (e *edge) intake(manager string, change ...func(*IntakeOptions)) takes {
	client, err := Open(e.server.URL())
	require.NoError(e.t, err)
	relay := RelayOptions{}
	e.log(&relay)
	options := IntakeOptions{
		Redis: client, Jobs: e.jobs, Commands: e.world, Records: e.world, Namespace: "default", Manager: manager,
		Glance: 20 * time.Millisecond, Log: relay.Log,
	}
	for _, c := range change {
		c(&options)
	}
	i := NewIntake(options)
	e.world.mu.Lock()
	e.told = append(e.told, i.Changed)
	e.world.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = i.Start(ctx)
	}()
	end := sync.OnceFunc(func() {
		cancel()
		<-ended
		_ = client.Close()
	})
	e.t.Cleanup(end)
	return takes{i, end}
}

// add adds an entry and returns its id.
func (e *edge) add(stream string, values ...string) string {
	id, err := e.redis.XAdd(e.t.Context(), &redis.XAddArgs{Stream: stream, Values: values}).Result()
	require.NoError(e.t, err)
	return id
}

func job(id, game string, more ...string) []string {
	return append([]string{"job_id", id, "game_id", game, "requested_at_ms", "1764000000000", "requested_by", "lobby"}, more...)
}

func (e *edge) start(id, game string) string {
	return e.add(StartJobs, job(id, game, "image_ref", "galaxy/demo-game:1.0.0")...)
}

func (e *edge) stop(id, game string) string { return e.add(StopJobs, job(id, game)...) }

// results are what was told, in the order in which it was. All of it obeys the schema.
func (e *edge) results() (told []JobResult) {
	rows, err := e.jobs.Pool.Query(context.Background(), "SELECT id::text, payload FROM outbox WHERE stream = $1 ORDER BY seq", JobResults)
	require.NoError(e.t, err)
	defer rows.Close()
	for rows.Next() {
		var id string
		var payload json.RawMessage
		require.NoError(e.t, rows.Scan(&id, &payload))
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
		require.NoError(e.t, err)
		require.NoError(e.t, e.schema.Validate(value))
		var result JobResult
		require.NoError(e.t, json.Unmarshal(payload, &result))
		require.Equal(e.t, id, result.ResultID)
		told = append(told, result)
	}
	require.NoError(e.t, rows.Err())
	return told
}

// of waits for the results of a job.
func (e *edge) of(job string, n int) (told []JobResult) {
	e.t.Helper()
	require.Eventually(e.t, func() bool {
		told = slices.DeleteFunc(e.results(), func(r JobResult) bool { return r.JobID != job })
		return len(told) >= n
	}, soon, 10*time.Millisecond, "results of %s", job)
	require.Len(e.t, told, n)
	return told
}

// quiet waits until all that was added before is read, by a job that is read after it.
func (e *edge) quiet() {
	e.t.Helper()
	id := fmt.Sprintf("quiet-%d", time.Now().UnixNano())
	e.start(id, id)
	e.of(id, 1)
}

func (e *edge) logged(message string) int {
	e.lines.mu.Lock()
	defer e.lines.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(e.seen), func(line string) bool { return line != message }))
}

func TestJobsAreCarriedOutAndAnswered(t *testing.T) {
	e := newEdge(t)
	e.idle = true
	e.intake("one")
	entry := e.start("job-1", "chess")
	require.Eventually(t, func() bool { return len(e.standing("chess")) == 1 }, soon, time.Millisecond)
	require.Empty(t, e.results(), "nothing runs yet")
	e.settle("chess")
	told := e.of("job-1", 1)[0]
	require.NotZero(t, told.AnsweredAtMs)
	told.AnsweredAtMs = 0
	require.Equal(t, JobResult{
		ResultID: resultID("job-1"), JobID: "job-1", Type: command.VerbStart, Namespace: "default", GameID: "chess", RequestedBy: "lobby",
		Stream: StartJobs, EntryID: entry, Result: command.Result{Outcome: command.Success},
	}, told)

	e.stop("job-2", "chess")
	require.Eventually(t, func() bool { return len(e.standing("chess")) == 2 }, soon, time.Millisecond)
	e.settle("chess")
	require.Equal(t, command.Success, e.of("job-2", 1)[0].Outcome)
}

func TestReplayedJobIsANoOp(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	e.start("job-1", "chess")
	e.of("job-1", 1)
	again := e.start("job-1", "chess")
	told := e.of("job-1", 2)[1]
	require.Equal(t, command.Success, told.Outcome)
	require.Equal(t, v1alpha1.CodeReplayNoOp, told.ErrorCode)
	require.Equal(t, again, told.EntryID)
	require.Equal(t, []string{"job-1"}, e.standing("chess"))

	e.stop("job-2", "nobody")
	require.Equal(t, v1alpha1.CodeNotFound, e.of("job-2", 1)[0].ErrorCode)
	e.stop("job-2", "nobody")
	told = e.of("job-2", 2)[1]
	require.Equal(t, command.Failure, told.Outcome, "a job that failed is not told to have been carried out")
	require.Equal(t, v1alpha1.CodeNotFound, told.ErrorCode)
}

func TestPoisonIsAnsweredAndPassed(t *testing.T) {
	e := newEdge(t)
	e.intake("one")
	without := func(field string) []string {
		values := job("poison", "chess", "image_ref", "galaxy/demo-game:1.0.0")
		at := slices.Index(values, field)
		return slices.Delete(values, at, at+2)
	}
	with := func(field, value string) []string { return append(without(field), field, value) }
	for name, c := range map[string]struct {
		values []string
		says   string
	}{
		"no game":               {without("game_id"), "game_id: is missing"},
		"no caller":             {without("requested_by"), "requested_by: is missing"},
		"no time":               {without("requested_at_ms"), "requested_at_ms: is missing"},
		"a game that is none":   {with("game_id", "../etc"), "game_id: "},
		"a NUL":                 {with("image_ref", "a\x00b"), "image_ref: must be text"},
		"no text":               {with("image_ref", "\xff\xfe"), "image_ref: must be text"},
		"a time that is none":   {with("requested_at_ms", "yesterday"), "requested_at_ms: must be"},
		"a caller that is none": {with("requested_by", "Lobby!"), "requested_by: "},
		"10 MB":                 {append(without("job_id"), "job_id", "poison", "spec", strings.Repeat("x", 10<<20)), "must not have more than"},
	} {
		t.Run(name, func(t *testing.T) {
			id := "poison-" + strings.ReplaceAll(name, " ", "-")
			at := slices.Index(c.values, "job_id")
			c.values[at+1] = id
			e.add(StartJobs, c.values...)
			told := e.of(id, 1)[0]
			require.Equal(t, command.Failure, told.Outcome)
			require.Equal(t, v1alpha1.CodeInvalidRequest, told.ErrorCode)
			require.Contains(t, told.Message, c.says)
		})
	}
	for name, values := range map[string][]string{
		"no id":             without("job_id"),
		"an id with blanks": with("job_id", "a b"),
		"an endless id":     with("job_id", strings.Repeat("x", longestID+1)),
		"nothing at all":    {"hello", "world"},
	} {
		t.Run(name, func(t *testing.T) {
			entry := e.add(StopJobs, values...)
			require.Eventually(t, func() bool {
				return slices.ContainsFunc(e.results(), func(r JobResult) bool {
					return r.EntryID == entry && r.JobID == "" && r.ErrorCode == v1alpha1.CodeInvalidRequest
				})
			}, soon, 5*time.Millisecond)
		})
	}
	e.quiet()
	require.Empty(t, e.standing("chess"))
}
