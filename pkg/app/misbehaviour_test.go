//go:build integration

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// What is told of a game's health.
const (
	began       = v1alpha1.HealthContainerStarted
	exited      = v1alpha1.HealthContainerExited
	oom         = v1alpha1.HealthContainerOOM
	disappeared = v1alpha1.HealthContainerDisappeared
	unhealthy   = v1alpha1.HealthInspectUnhealthy
	fails       = v1alpha1.HealthProbeFailed
	recovers    = v1alpha1.HealthProbeRecovered
)

// misbehaviour is a way in which a game does not do what it should, or people do
// not, and all that is told of it.
type misbehaviour struct {
	name    string
	declare func(*v1alpha1.GameRuntimeSpec)
	// begin has a game misbehave that is ready and in sync, and check awaits what
	// its record says of it in the end. Both may be nil.
	begin func(*testing.T, *manager, *v1alpha1.GameRuntime)
	check func(t *testing.T, m *manager, before *v1alpha1.GameRuntime)
	// heard is the reason of a Kubernetes Event.
	heard string
	// events are all health events, or the first ones if it goes on.
	events []v1alpha1.HealthEventType
	goesOn bool
}

func misbehaviours() []misbehaviour {
	type told = []v1alpha1.HealthEventType
	return []misbehaviour{
		{name: "crashes", declare: crashLoop, check: backsOff, heard: v1alpha1.ReasonExited, events: told{began, exited, began, exited, began, exited}, goesOn: true},
		{name: "leaks", begin: leak, check: endedBy(v1alpha1.TerminationOOMKilled), heard: v1alpha1.ReasonExited, events: told{began, oom, began}},
		{name: "is-killed", begin: byHand("kill"), check: endedBy(v1alpha1.TerminationStoppedByHand), heard: v1alpha1.ReasonExited, events: told{began, exited, began}},
		{name: "vanishes", begin: byHand("rm", "-f"), check: vanished, heard: v1alpha1.ReasonVanished, events: told{began, disappeared, began}},
		{name: "is-stopped", begin: stopped, check: stoppedByUs, heard: v1alpha1.ReasonEnded, events: told{began, exited}},
		{name: "is-deleted", begin: deleted, check: gone, heard: v1alpha1.ReasonEnded, events: told{began, exited}},

		{name: "hangs", declare: livenessBy(get("/healthz")), begin: does("hang"), check: restartedFor("liveness probe failed: no answer in time"), heard: v1alpha1.ReasonProbeFailed, events: told{began, fails, exited, began, recovers}},
		{name: "fails-its-program", declare: livenessBy(demoCheck()), begin: does("fail-health"), check: restartedFor("/demo-game ended with exit code 1: demo-game: the game answers 500"), heard: v1alpha1.ReasonProbeFailed, events: told{began, fails, exited, began, recovers}},
		{name: "freezes", declare: progress, begin: does("freeze"), check: restartedFor("progress probe failed"), heard: v1alpha1.ReasonProbeFailed, events: told{began, fails, exited, began, recovers}},

		{name: "slow", declare: readinessBy(get("/readyz")), begin: does("slow?ms=3000"), check: unreadyFor("no answer in time"), heard: v1alpha1.ReasonProbeRecovered, events: told{began, fails, recovers}},
		{name: "answers-500", declare: readinessBy(get("/readyz")), begin: does("fail-ready"), check: unreadyFor("GET /readyz answered 500"), heard: v1alpha1.ReasonProbeRecovered, events: told{began, fails, recovers}},
		{name: "hangs-its-program", declare: readinessBy(demoCheck()), begin: does("hang"), check: unreadyFor("of an earlier check still runs"), heard: v1alpha1.ReasonProbeRecovered, events: told{began, fails, recovers}},
		{name: "fails-its-healthcheck", declare: healthcheck, begin: does("fail-health"), check: unhealthyByItself, heard: v1alpha1.ReasonHealthcheckFailed, events: told{began, unhealthy}},

		{name: "slow-but-in-time", declare: allProbes, begin: does("slow?ms=200"), check: unmoved, heard: v1alpha1.ReasonReady, events: told{began}},
		{name: "flaps", declare: allProbes, begin: does("flap"), check: unmoved, heard: v1alpha1.ReasonReady, events: told{began}},

		// Last, since the old container is kept for a while.
		{name: "is-made-anew", begin: restartAsked, check: madeAnew, heard: v1alpha1.ReasonEnded, events: told{began, exited, began}},
	}
}

// TestMisbehaviour has one game misbehave in each way, all at once, on the real
// engine: record, conditions, Events and history tell one story of each.
func TestMisbehaviour(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{})
	pool, err := postgres.Open(context.Background(), server.URL())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	m := startManager(t, func(c *Config) { c.DatabaseURL = server.URL() })
	for _, each := range misbehaviours() {
		g := game(each.name)
		g.Spec.Probes, g.Spec.StopGracePeriodSeconds = v1alpha1.Probes{}, ptr.To[int32](2)
		if each.declare != nil {
			each.declare(&g.Spec)
		}
		m.create(g)
	}
	before := map[string]*v1alpha1.GameRuntime{}
	for _, each := range misbehaviours() {
		if each.begin != nil {
			before[each.name] = m.await(each.name, "a game that is well", isWell)
		}
	}
	for _, each := range misbehaviours() {
		if each.begin != nil {
			each.begin(t, m, before[each.name])
		}
	}
	for _, each := range misbehaviours() {
		t.Run(each.name, func(t *testing.T) {
			each.check(t, m, before[each.name])
			require.Eventually(t, m.heard(each.name, each.heard), patience, 50*time.Millisecond, "an Event %s", each.heard)
			awaitStory(t, pool, each)
		})
	}
}

// isWell says that nothing is left to do or to find out.
func isWell(g *v1alpha1.GameRuntime) bool {
	for _, v := range g.Status.Health {
		if v.Verdict != v1alpha1.VerdictSucceeding {
			return false
		}
	}
	return isReady(g) && isInSync(g)
}

// awaitStory waits until the history holds the health events of a game, each of
// which the platform is told once, and no others.
func awaitStory(t *testing.T, pool *pgxpool.Pool, want misbehaviour) {
	t.Helper()
	const story = `SELECT e.type, o.id IS NOT NULL AND o.stream = 'runtime:health_events' AND o.payload->>'type' = e.type
		FROM health_events e LEFT JOIN outbox o USING (id) WHERE e.game = $1 ORDER BY e.at`
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var told []v1alpha1.HealthEventType
		var kind v1alpha1.HealthEventType
		var announced bool
		rows, _ := pool.Query(context.Background(), story, want.name) // the rows tell the error
		_, err := pgx.ForEachRow(rows, []any{&kind, &announced}, func() error {
			assert.True(c, announced, "%s", kind)
			told = append(told, kind)
			return nil
		})
		assert.NoError(c, err)
		if want.goesOn && len(told) > len(want.events) {
			told = told[:len(want.events)]
		}
		assert.Equal(c, want.events, told)
	}, patience, 50*time.Millisecond)
}

func get(path string) v1alpha1.Probe {
	return v1alpha1.Probe{HTTPGet: &v1alpha1.HTTPGetAction{Path: path, Port: 8080}, PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 3}
}

// demoCheck asks the game from inside its container.
func demoCheck() v1alpha1.Probe {
	return v1alpha1.Probe{Exec: &v1alpha1.ExecAction{Command: []string{"/demo-game", "check"}}, PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 3}
}

func livenessBy(p v1alpha1.Probe) func(*v1alpha1.GameRuntimeSpec) {
	return func(s *v1alpha1.GameRuntimeSpec) { s.Probes.Liveness = &p }
}

func readinessBy(p v1alpha1.Probe) func(*v1alpha1.GameRuntimeSpec) {
	return func(s *v1alpha1.GameRuntimeSpec) { s.Probes.Readiness = &p }
}

func allProbes(s *v1alpha1.GameRuntimeSpec) {
	livenessBy(get("/healthz"))(s)
	readinessBy(get("/readyz"))(s)
}

func progress(s *v1alpha1.GameRuntimeSpec) {
	s.Env = []v1alpha1.EnvVar{{Name: "TURN_EVERY", Value: "200ms"}}
	s.Probes.Progress = &v1alpha1.ProgressProbe{
		HTTPGet: v1alpha1.HTTPGetAction{Path: "/api/v1/status", Port: 8080}, JSONPath: "{.turn}", WithinSeconds: 3, PeriodSeconds: 1, TimeoutSeconds: 1,
	}
}

func healthcheck(s *v1alpha1.GameRuntimeSpec) {
	s.Image = strings.Replace(demoImage, "demo-game", "demo-game-healthcheck", 1)
}

func crashLoop(s *v1alpha1.GameRuntimeSpec) {
	s.Env = []v1alpha1.EnvVar{{Name: "CRASH_AFTER", Value: "100ms"}, {Name: "EXIT_CODE", Value: "3"}}
}

func does(how string) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(t *testing.T, _ *manager, g *v1alpha1.GameRuntime) { misbehave(t, g, how) }
}

func restartAsked(_ *testing.T, m *manager, g *v1alpha1.GameRuntime) {
	m.update(g.Name, func(s *v1alpha1.GameRuntimeSpec) { s.RestartedAt = ptr.To(metav1.Now()) })
}

func deleted(t *testing.T, m *manager, g *v1alpha1.GameRuntime) {
	require.NoError(t, m.Delete(context.Background(), g.DeepCopy()))
}

// restartedFor: it ran again, in the same container, and is well.
func restartedFor(message string) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
		g := m.await(before.Name, "a restart", func(g *v1alpha1.GameRuntime) bool { return isWell(g) && g.Status.Restarts == 1 })
		end := g.Status.LastTermination
		require.Equal(t, v1alpha1.TerminationProbeFailed, end.Reason)
		require.Contains(t, end.Message, message)
		require.NotEmpty(t, end.Operation)
		require.Equal(t, before.Status.Container.ID, g.Status.Container.ID)
	}
}

// unreadyFor: it is not ready for a while, and runs on.
func unreadyFor(message string) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
		g := m.await(before.Name, "Ready=False", func(g *v1alpha1.GameRuntime) bool { return !isReady(g) })
		for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionHealthy} {
			condition := meta.FindStatusCondition(g.Status.Conditions, kind)
			require.Equal(t, metav1.ConditionFalse, condition.Status)
			require.Equal(t, v1alpha1.ReasonProbeFailed, condition.Reason)
			require.Contains(t, condition.Message, message)
		}
		require.True(t, isInSync(g), "nothing is to be done about it")
		programs := dockerCLI(t, "top", g.Status.Container.ID, "-eo", "pid,args")
		require.LessOrEqual(t, strings.Count(programs, "demo-game check"), 1, "no program is run beside one that hangs")
		misbehave(t, before, "recover")
		g = m.await(before.Name, "a game that is well", isWell)
		require.Equal(t, before.Status.Container, g.Status.Container)
		require.Zero(t, g.Status.Restarts)
	}
}

// unmoved: its probes are answered many times, and not a byte of the record changes.
func unmoved(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
	require.Eventually(t, func() bool {
		answers := answered(t, before)
		return answers["health"] >= 8 && answers["ready"] >= 8
	}, patience, 50*time.Millisecond)
	require.Equal(t, before.ResourceVersion, m.read(before.Name).ResourceVersion)
}

// answered is how often the game answered each probe since it misbehaves.
func answered(t *testing.T, g *v1alpha1.GameRuntime) map[string]int {
	t.Helper()
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/api/v1/status", g.Status.Container.HostPorts["http"]))
	require.NoError(t, err)
	defer answer.Body.Close()
	var status struct{ Answered map[string]int }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&status))
	return status.Answered
}

// unhealthyByItself: it is told, and nothing is done about it.
func unhealthyByItself(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
	g := m.await(before.Name, "Healthy=False", func(g *v1alpha1.GameRuntime) bool {
		return meta.IsStatusConditionFalse(g.Status.Conditions, v1alpha1.ConditionHealthy)
	})
	healthy := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionHealthy)
	require.Equal(t, v1alpha1.ReasonHealthcheckFailed, healthy.Reason)
	require.Contains(t, healthy.Message, "the game answers 500")
	require.True(t, isReady(g))
	misbehave(t, g, "recover")
	g = m.await(before.Name, "a game that is well", isWell)
	require.Equal(t, before.Status.Container, g.Status.Container)
}

// backsOff: each restart waits for twice as long as the one before.
func backsOff(t *testing.T, m *manager, _ *v1alpha1.GameRuntime) {
	g := m.await("crashes", "a third crash", func(g *v1alpha1.GameRuntime) bool {
		return g.Status.LastTermination != nil && g.Status.LastTermination.InARow >= 3 && g.Status.Pending != nil && g.Status.Pending.NextTry != nil
	})
	end := g.Status.LastTermination
	require.Equal(t, v1alpha1.TerminationCrashed, end.Reason)
	require.EqualValues(t, 3, end.ExitCode)
	require.Equal(t, v1alpha1.ReasonBackOff, g.Status.Pending.Reason)
	require.GreaterOrEqual(t, g.Status.Pending.NextTry.Sub(end.FinishedAt.Time), 4*time.Second)
}

// endedBy: SIGKILL ended it, but who sent it differs.
func endedBy(reason v1alpha1.TerminationReason) func(*testing.T, *manager, *v1alpha1.GameRuntime) {
	return func(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
		g := m.await(before.Name, "a restart", func(g *v1alpha1.GameRuntime) bool { return isWell(g) && g.Status.Restarts == 1 })
		end := g.Status.LastTermination
		require.Equal(t, reason, end.Reason)
		require.EqualValues(t, 137, end.ExitCode)
		require.Equal(t, before.Status.Container.ID, g.Status.Container.ID)
	}
}

func vanished(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
	g := m.await(before.Name, "a new container", isAnew(before))
	require.True(t, g.Status.LastTermination.Disappeared)
	require.Empty(t, g.Status.LastTermination.Operation)
}

func isAnew(before *v1alpha1.GameRuntime) func(*v1alpha1.GameRuntime) bool {
	return func(g *v1alpha1.GameRuntime) bool {
		return isWell(g) && g.Status.Container.ID != before.Status.Container.ID
	}
}

func stoppedByUs(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
	g := m.await(before.Name, "Stopped", func(g *v1alpha1.GameRuntime) bool { return g.Status.Phase == v1alpha1.PhaseStopped })
	require.Equal(t, v1alpha1.TerminationStoppedByUs, g.Status.LastTermination.Reason)
	require.NotEmpty(t, g.Status.LastTermination.Operation)
}

func madeAnew(t *testing.T, m *manager, before *v1alpha1.GameRuntime) {
	g := m.await(before.Name, "a new container", isAnew(before))
	require.Equal(t, v1alpha1.TerminationStoppedByUs, g.Status.LastTermination.Reason)
	require.False(t, g.Status.LastTermination.Disappeared)
}

func gone(_ *testing.T, m *manager, before *v1alpha1.GameRuntime) { m.awaitGone(before.Name) }
