//go:build integration

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/engine/docker"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/streams"
	"galaxy.io/runtime-manager/pkg/streams/redistest"
)

// jobCount is what fits into a run of all tests; `make kills` has 1,000 jobs.
var jobCount = flag.Int("jobs", 100, "how many jobs TestJobsWhileManagersAndRedisAreKilled asks for, of a quarter as many games")

const (
	// longestPause is how long a service rests at most between two jobs.
	longestPause = 60 * time.Millisecond
	// longestAway is how long Redis is gone at most.
	longestAway = 300 * time.Millisecond
)

// TestJobsWhileManagersAndRedisAreKilled has two managers share the jobs of many
// games, while one of them is killed three times, and Redis restarted twice. Each
// entry is answered once, no game is lost, and by Docker's own word none was started
// twice.
func TestJobsWhileManagersAndRedisAreKilled(t *testing.T) {
	s := besiege(t)
	m := &manager{t: t, WithWatch: newClient(t, s.kubeconfig(0)), stop: s.end}
	defer func() { // before the managers end, of which the first may be on another port by now
		m.WithWatch = newClient(t, s.kubeconfig(0))
		m.cleanUp()
	}()
	starts := watchStarts(t, m.installation())
	begin, orders := time.Now(), s.orders()
	added, random := make(chan struct{}), rand.New(rand.NewPCG(s.random.Uint64(), 0))
	go func() {
		defer close(added)
		s.add(t.Context(), random, orders)
	}()
	s.harm()
	<-added
	m.WithWatch = newClient(t, s.kubeconfig(0))
	s.awaitRead()
	s.awaitCount(*jobCount, "jobs WHERE result IS NOT NULL")
	s.awaitCount(0, "outbox WHERE published_at IS NULL")
	t.Logf("%d jobs of %d games, in %d entries, answered in %v; the Lobby was asked %d times",
		*jobCount, s.games(), len(orders), time.Since(begin).Round(time.Second), s.asked.Load())
	s.requireAnswers()
	require.Positive(t, s.asked.Load())

	running := s.awaitInSync(m)
	require.Len(t, running, s.games()-s.stopped())
	require.Equal(t, running, runningContainers(t, m.installation()), "one container of each game runs, the one on record")
	s.awaitCount(s.games(), "(SELECT DISTINCT game FROM health_events WHERE type = 'container_started') AS started")
	for n := range s.games() {
		require.Equal(t, 1, starts.of(s.game(n)), "%s was started so often", s.game(n))
		require.Equal(t, 1, s.count("health_events WHERE type = 'container_started' AND game = $1", s.game(n)), s.game(n))
	}
}

// siege are two managers on one database and one engine, and who asks them for games.
type siege struct {
	t        *testing.T
	random   *rand.Rand
	redis    *redistest.Server
	asked    atomic.Int64 // how often the Lobby was
	pool     *pgxpool.Pool
	dir      string
	managers [2]*process
	restart  func(manager int)
}

func besiege(t *testing.T) *siege {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &siege{t: t, random: rand.New(rand.NewPCG(seed, 0)), redis: redistest.StartServer(t), dir: tempDir(t)}
	lobby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		fmt.Fprintf(w, `{"game_id": %q, "status": "running", "engine_image": "galaxy/demo-game", "engine_version": "1.0.0"}`, path.Base(r.URL.Path))
	}))
	t.Cleanup(lobby.Close)
	database, err := postgres.Open(t.Context(), postgrestest.StartServer(t, postgrestest.ServerOptions{}).URL())
	require.NoError(t, err)
	t.Cleanup(database.Close)
	s.pool = database
	program := program(t)
	s.restart = func(n int) {
		s.managers[n] = startProcess(t, program, s.dataDir(n), "unix://"+engineSocket, "--state-root", filepath.Join(s.dir, "games"),
			"--database-url", database.Config().ConnString(), "--redis-url", s.redis.URL(), "--lobby-url", lobby.URL)
	}
	for n := range s.managers {
		s.restart(n)
	}
	return s
}

func (s *siege) dataDir(manager int) string {
	return filepath.Join(s.dir, fmt.Sprint("data-", manager))
}
func (s *siege) kubeconfig(manager int) string {
	return filepath.Join(s.dataDir(manager), "kubeconfig")
}

func (s *siege) end() {
	for _, p := range s.managers {
		p.end(syscall.SIGTERM)
	}
}

func (s *siege) games() int        { return *jobCount / 4 }
func (s *siege) game(n int) string { return fmt.Sprint("besieged-", n%s.games()) }

// stopped is how many games are stopped, the first ones.
func (s *siege) stopped() int { return s.games() / 5 }

func (s *siege) count(of string, arguments ...any) (n int) {
	require.NoError(s.t, s.pool.QueryRow(context.Background(), "SELECT count(*) FROM "+of, arguments...).Scan(&n))
	return n
}

func (s *siege) awaitCount(n int, of string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.count(of) == n }, 3*patience, 50*time.Millisecond, "%d %s", n, of)
}

// awaitRead waits until every entry is accepted, or answered.
func (s *siege) awaitRead() {
	s.t.Helper()
	client := s.redis.Client(s.t)
	for _, stream := range []string{streams.StartJobs, streams.StopJobs} {
		require.Eventually(s.t, func() bool {
			groups, err := client.XInfoGroups(s.t.Context(), stream).Result()
			return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
		}, patience, 20*time.Millisecond, "%s is read", stream)
	}
}

// order is an entry on a stream of jobs.
type order struct {
	stream string
	values []string
}

// smallSpec has many games fit onto one machine.
const smallSpec = `{"resources": {"memory": "32Mi", "cpu": "100m"}, "stopGracePeriodSeconds": 2}`

// orders are three starts of each game, of which one leaves the image to the Lobby;
// then a stop of a fifth of the games, a job that is poison for another fifth, and
// one more start of the others. Each fourth job is ordered twice. Stops come last,
// everything else in any order.
func (s *siege) orders() (all []order) {
	var stops []order
	for n := range *jobCount {
		o := order{streams.StartJobs, []string{
			"job_id", fmt.Sprint("job-", n), "game_id", s.game(n), "requested_at_ms", "1764000000000", "requested_by", "lobby", "spec", smallSpec,
		}}
		last, place := n/s.games() == 3, n%s.games()
		switch {
		case last && place < s.stopped():
			o.stream, o.values = streams.StopJobs, o.values[:8]
		case last && place < 2*s.stopped():
			o.values = poison(o.values, place)
		case n/s.games() != 1:
			o.values = append(o.values, "image_ref", demoImage)
		}
		to := &all
		if o.stream == streams.StopJobs {
			to = &stops
		}
		*to = append(*to, o)
		if n%4 == 0 {
			*to = append(*to, o)
		}
	}
	for n := range s.stopped() { // of no job at all
		all = append(all, order{streams.StartJobs, []string{"job_id", "not an id", "game_id", s.game(n)}})
	}
	s.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return append(all, stops...)
}

// poison is a job that cannot be carried out, in one of several ways.
func poison(values []string, way int) []string {
	bad := slices.Clone(values)
	switch way % 3 {
	case 0:
		bad[3] = "NO LABEL"
	case 1:
		bad[9] = `{"ports": [`
	case 2:
		bad[9] = strings.Repeat("x", 2<<20)
	}
	return bad
}

// add is a service that adds entries, each until Redis has taken it: one whose answer
// was lost is there twice. Games are stopped once all starts are answered.
func (s *siege) add(ctx context.Context, random *rand.Rand, orders []order) {
	client := s.redis.Client(s.t)
	until := func(done func() bool) {
		for ctx.Err() == nil && !done() {
			s.pause(random, longestPause)
		}
	}
	for _, o := range orders {
		if o.stream == streams.StopJobs {
			until(func() (answered bool) {
				err := s.pool.QueryRow(ctx, "SELECT count(*) = $1 FROM jobs WHERE verb = 'start' AND result IS NOT NULL", *jobCount-s.stopped()).Scan(&answered)
				return err == nil && answered
			})
		}
		until(func() bool { return client.XAdd(ctx, &redis.XAddArgs{Stream: o.stream, Values: o.values}).Err() == nil })
		s.pause(random, longestPause)
	}
}

func (s *siege) pause(random *rand.Rand, longest time.Duration) {
	<-time.After(time.Duration(random.Int64N(int64(longest))))
}

// harm kills managers and Redis in any order, spread at random over the work: after
// so many answers, and a moment.
func (s *siege) harm() {
	kill := func(n int) func() {
		return func() {
			s.managers[n].end(syscall.SIGKILL)
			s.restart(n)
		}
	}
	harms := []func(){
		kill(0), kill(1), kill(0),
		func() { s.redis.Kill(s.t); s.pause(s.random, longestAway); s.redis.Start(s.t) },
		func() { s.redis.Stop(s.t); s.pause(s.random, longestAway); s.redis.Start(s.t) },
	}
	s.random.Shuffle(len(harms), func(i, j int) { harms[i], harms[j] = harms[j], harms[i] })
	moments := make([]int, len(harms))
	for k := range moments {
		moments[k] = s.random.IntN(*jobCount)
	}
	slices.Sort(moments)
	for k, moment := range moments {
		require.Eventually(s.t, func() bool { return s.count("jobs WHERE result IS NOT NULL") >= moment }, 3*patience, 5*time.Millisecond)
		s.pause(s.random, longestAway)
		harms[k]()
	}
	s.t.Logf("managers were killed, and Redis restarted, after %v answers", moments)
}

// requireAnswers holds the results against the entries: one each, however often it was
// delivered. The first entry of a job has the job's own, the others are told that it is
// a replay, or as what it failed.
func (s *siege) requireAnswers() {
	answers := s.answers()
	own := map[string]streams.JobResult{}
	for _, stream := range []string{streams.StartJobs, streams.StopJobs} {
		for _, entry := range s.read(stream) {
			at, job := [2]string{stream, entry.ID}, fmt.Sprint(entry.Values["job_id"])
			answer, answered := answers[at]
			require.True(s.t, answered, "%s, entry %s, is not answered", job, entry.ID)
			delete(answers, at)
			first, repeated := own[job]
			switch {
			case !strings.HasPrefix(job, "job-"):
				require.Equal(s.t, v1alpha1.CodeInvalidRequest, answer.ErrorCode)
			case !repeated:
				own[job] = answer
				require.Equal(s.t, job, answer.JobID)
				s.requireFit(entry, answer)
			case first.Outcome == command.Failure:
				require.Equal(s.t, first.ErrorCode, answer.ErrorCode, "%+v", answer)
			default:
				require.Equal(s.t, command.Success, answer.Outcome, "%+v", answer)
				require.Equal(s.t, v1alpha1.CodeReplayNoOp, answer.ErrorCode, "%+v", answer)
			}
		}
	}
	require.Empty(s.t, answers, "of no entry")
	require.Len(s.t, own, *jobCount)
}

// requireFit has poison refused, and all else come true.
func (s *siege) requireFit(entry redis.XMessage, answer streams.JobResult) {
	spec, there := entry.Values["spec"]
	if entry.Values["game_id"] == "NO LABEL" || there && spec != smallSpec {
		require.Equal(s.t, v1alpha1.CodeInvalidRequest, answer.ErrorCode, "%+v", answer)
		return
	}
	require.Equal(s.t, command.Success, answer.Outcome, "%+v", answer)
	require.NotEmpty(s.t, answer.OperationID, "%+v", answer)
}

// answers are the results by the entries that they answer. One that was delivered more
// than once says the same each time.
func (s *siege) answers() map[[2]string]streams.JobResult {
	byID, byEntry := map[string]string{}, map[[2]string]streams.JobResult{}
	for _, entry := range s.read(streams.JobResults) {
		var answer streams.JobResult
		payload := fmt.Sprint(entry.Values["payload"])
		require.NoError(s.t, json.Unmarshal([]byte(payload), &answer))
		at := [2]string{answer.Stream, answer.EntryID}
		if before, delivered := byID[answer.ResultID]; delivered {
			require.Equal(s.t, before, payload)
			continue
		}
		require.Empty(s.t, byEntry[at], "the same entry's result is %s, too", payload)
		byID[answer.ResultID], byEntry[at] = payload, answer
	}
	return byEntry
}

func (s *siege) read(stream string) []redis.XMessage {
	all, err := s.redis.Client(s.t).XRange(s.t.Context(), stream, "-", "+").Result()
	require.NoError(s.t, err)
	return all
}

// awaitInSync waits until every record is as declared, and returns the containers of
// those that are to run, by game.
func (s *siege) awaitInSync(m *manager) (running map[string][]string) {
	s.t.Helper()
	m.eventually("all are in sync", func() bool {
		running = map[string][]string{}
		var all v1alpha1.GameRuntimeList
		require.NoError(s.t, m.List(s.t.Context(), &all))
		for _, g := range all.Items {
			if !isInSync(&g) || falseStory(&g) != "" {
				return false
			}
			if g.Spec.State == v1alpha1.StateRunning {
				running[g.Name] = []string{g.Status.Container.ID}
			}
		}
		return len(all.Items) == s.games()
	})
	return running
}

// runningContainers are those of an installation that run, by game.
func runningContainers(t *testing.T, installation string) map[string][]string {
	asked, err := docker.New(docker.Options{})
	require.NoError(t, err)
	defer asked.Close()
	all, err := asked.List(t.Context(), installation)
	require.NoError(t, err)
	running := map[string][]string{}
	for _, c := range all {
		if c.State == engine.StateRunning {
			running[c.Game.Name] = append(running[c.Game.Name], c.ID)
		}
	}
	return running
}

// startWatch is what Docker itself tells of an installation's containers that started.
type startWatch struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended bool
}

// watchStarts begins with what starts from now on.
func watchStarts(t *testing.T, installation string) *startWatch {
	w := &startWatch{t: t}
	w.cmd = exec.Command("docker", "events", "--since", fmt.Sprint(time.Now().Unix()), "--filter", "type=container", "--filter", "event=start",
		"--filter", "label="+v1alpha1.LabelInstallation+"="+installation, "--format", `{{index .Actor.Attributes "`+v1alpha1.LabelGame+`"}}`)
	w.cmd.Stdout = &w.out
	require.NoError(t, w.cmd.Start())
	t.Cleanup(w.end)
	return w
}

func (w *startWatch) end() {
	if !w.ended {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait() // it was killed
	}
	w.ended = true
}

// of counts a game's starts, and ends the watch.
func (w *startWatch) of(game string) (n int) {
	w.end()
	for line := range strings.Lines(w.out.String()) {
		if strings.TrimSpace(line) == game {
			n++
		}
	}
	return n
}
