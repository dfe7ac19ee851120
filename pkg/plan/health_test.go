package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

const (
	unknown    = v1alpha1.VerdictUnknown
	succeeding = v1alpha1.VerdictSucceeding
	failing    = v1alpha1.VerdictFailing
	liveness   = v1alpha1.ProbeLiveness
	readiness  = v1alpha1.ProbeReadiness
)

// probed is a running game whose record declares a probe.
func probed(probe string) *scene {
	return newScene().spec(func(s *v1alpha1.GameRuntimeSpec) {
		switch probe {
		case v1alpha1.ProbeStartup:
			s.Probes.Startup = &v1alpha1.Probe{}
		case liveness:
			s.Probes.Liveness = &v1alpha1.Probe{}
		case readiness:
			s.Probes.Readiness = &v1alpha1.Probe{}
		case v1alpha1.ProbeProgress:
			s.Probes.Progress = &v1alpha1.ProgressProbe{}
		}
	}).container("c1", engine.StateRunning)
}

// says is what the prober or the engine says of a probe since now.
func (s *scene) says(probe, verdict string) *scene {
	if probe == v1alpha1.ProbeInspect {
		states := map[string]engine.HealthState{unknown: engine.HealthStarting, succeeding: engine.HealthHealthy, failing: engine.HealthUnhealthy}
		health := &engine.Health{State: states[verdict]}
		if verdict == failing {
			health.Output = "no /data/games/default/chess"
		}
		s.in.View.Containers[0].Health = health
		return s
	}
	s.in.Health = nil
	s.verdict(probe, verdict)
	s.in.Health[0].Since = &metav1.MicroTime{Time: s.in.Now.Add(time.Nanosecond)}
	return s
}

// silent is a prober that has nothing to say.
func (s *scene) silent() *scene { s.in.Health = nil; return s }

func (s *scene) told(probe string) *v1alpha1.ProbeStatus {
	return verdictOf(s.in.Record.Status.Health, probe)
}

func TestAVerdictIsWrittenWhenItChangesAlone(t *testing.T) {
	for _, probe := range judges {
		t.Run(probe, func(t *testing.T) {
			s := probed(probe).record(paused) // no restart begins
			for _, verdict := range []string{unknown, succeeding, failing, succeeding, failing} {
				s.later(time.Minute).says(probe, verdict)
				checkStatus(t, s.in)
				s.reported()
				told := s.told(probe)
				require.Equal(t, verdict, told.Verdict)
				require.Equal(t, s.in.Now, told.Since.Time, "as far as a record can hold it")
				written := s.in.Record.Status
				s.later(time.Second).says(probe, verdict)
				if len(s.in.Health) > 0 {
					s.in.Health[0].Message = "another answer"
				}
				require.Equal(t, written, s.reported().in.Record.Status)
			}
			if probe == v1alpha1.ProbeInspect {
				require.Equal(t, "no (state root)/default/chess", s.told(probe).Message)
			}
		})
	}
}

func TestWhenAProbeFailed(t *testing.T) {
	for _, probe := range judges {
		t.Run(probe, func(t *testing.T) {
			s := probed(probe).says(probe, unknown).reported().later(time.Minute).says(probe, succeeding).reported()
			require.Nil(t, s.told(probe).FailedAt)
			first := *s.later(time.Minute).says(probe, failing).reported().told(probe).Since
			require.Equal(t, first, *s.told(probe).FailedAt)
			require.Equal(t, first, *s.later(time.Minute).says(probe, succeeding).reported().told(probe).FailedAt, "it recovered from that")
			second := *s.later(time.Minute).says(probe, failing).reported().told(probe).Since
			require.NotEqual(t, first, second)
			require.Equal(t, second, *s.told(probe).FailedAt)

			s.later(time.Second).ends(1).silent().reported()
			require.Equal(t, v1alpha1.ProbeStatus{Probe: probe, Verdict: unknown, Since: microTime(s.in.Now), FailedAt: &second}, *s.told(probe), "it does not run")
			s.later(time.Minute).runs().says(probe, unknown).reported()
			require.Equal(t, second, *s.told(probe).FailedAt, "nor is it known to be well")
			third := s.later(time.Minute).says(probe, failing).reported().told(probe).FailedAt
			require.Equal(t, s.in.Now, third.Time, "it fails in another run")
			require.Equal(t, third, s.later(time.Minute).says(probe, succeeding).reported().told(probe).FailedAt)
			unseen := &scene{clone(s.in)}
			require.Nil(t, unseen.later(time.Minute).runs().says(probe, unknown).reported().told(probe).FailedAt, "what is over is not kept")
			require.Nil(t, s.later(time.Second).ends(1).silent().reported().told(probe))
		})
	}
}

func TestWhatIsNotAskedNow(t *testing.T) {
	fails := func() *scene { return probed(liveness).says(liveness, failing).reported().later(time.Minute).silent() }
	well := func() *scene {
		return probed(liveness).says(liveness, succeeding).reported().later(time.Minute).silent()
	}
	listed := func(s *scene) *scene { s.in.View.Containers[0].Inspected = false; return s }
	stopping := func(s *scene) *scene {
		s.in.InHand = &Work{Action: StopContainer{ID: "c1"}}
		return s
	}
	for _, c := range []struct {
		name  string
		scene *scene
		want  string
		since time.Time
	}{
		{"the manager restarted, the engine was not seen", unseen(fails()), failing, now},
		{"the container was only listed", listed(fails()), failing, now},
		{"the prober begins anew, the game was well", well().says(liveness, unknown), succeeding, now},
		{"the prober begins anew, the game was not", fails().says(liveness, unknown), unknown, now.Add(time.Minute)},
		{"the record changed", well().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Probes.RestartAfterSeconds = 9 }).says(liveness, unknown), unknown, now.Add(time.Minute)},
		{"it is being stopped", stopping(fails()), failing, now},
		{"it is being stopped, and was well", stopping(well()), succeeding, now},
		{"another run", well().runs().says(liveness, unknown), unknown, now.Add(time.Minute)},
		{"paused by hand, and was well", func() *scene { s := well(); s.in.View.Containers[0].State = engine.StatePaused; return s }(), "", now},
		{"there is no such probe any more", fails().spec(func(s *v1alpha1.GameRuntimeSpec) { s.Probes.Liveness = nil }), "", now},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkStatus(t, c.scene.in)
			told := c.scene.reported().told(liveness)
			if c.want == "" {
				require.Nil(t, told)
				return
			}
			require.Equal(t, c.want, told.Verdict)
			require.Equal(t, c.since, told.Since.Time)
		})
	}
	s := fails()
	first := s.told(liveness).FailedAt
	s.says(liveness, unknown).reported().later(time.Minute).says(liveness, failing).reported()
	require.Equal(t, first, s.told(liveness).FailedAt, "found again after a restart of the manager, it is the same failure")
}

func TestHealthConditions(t *testing.T) {
	const inspect, progress = v1alpha1.ProbeInspect, v1alpha1.ProbeProgress
	type conditions struct{ healthy, reason, ready, message string }
	for _, c := range []struct {
		name  string
		scene *scene
		want  conditions
	}{
		{"none", newScene().container("c1", engine.StateRunning), conditions{"Unknown", v1alpha1.ReasonNoProbes, "True", "the record declares no probes, and the image none"}},
		{"the image's fails", probed("").says(inspect, failing), conditions{"False", v1alpha1.ReasonHealthcheckFailed, "True", "the image's HEALTHCHECK fails: no (state root)/default/chess"}},
		{"the image's begins", probed("").says(inspect, unknown), conditions{"Unknown", v1alpha1.ReasonProbing, "True", "the image's HEALTHCHECK has not succeeded yet"}},
		{"the image's is well", probed("").says(inspect, succeeding), conditions{"True", v1alpha1.ReasonProbesSucceeded, "True", "all probes succeed"}},
		{"the image's fails, and a probe", probed(liveness).says(liveness, failing).says(inspect, failing), conditions{"False", v1alpha1.ReasonProbeFailed, "False", "the liveness probe fails: status 500"}},
		{"the image's fails, a probe has not succeeded yet", probed(readiness).says(readiness, unknown).says(inspect, failing), conditions{"False", v1alpha1.ReasonHealthcheckFailed, "False", "the image's HEALTHCHECK fails: no (state root)/default/chess"}},
		{"readiness fails", probed(readiness).says(readiness, failing), conditions{"False", v1alpha1.ReasonProbeFailed, "False", "the readiness probe fails: status 500"}},
		{"no progress yet", probed(progress).says(progress, unknown), conditions{"Unknown", v1alpha1.ReasonProbing, "True", "the progress probe has not succeeded yet"}},
		{"no progress", probed(progress).says(progress, failing), conditions{"False", v1alpha1.ReasonProbeFailed, "False", "the progress probe fails: status 500"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkStatus(t, c.scene.in)
			// a failing probe's restart is of no matter here
			told := c.scene.record(paused).reported().in.Record.Status.Conditions
			healthy, ready := findCondition(told, v1alpha1.ConditionHealthy), findCondition(told, v1alpha1.ConditionReady)
			require.Equal(t, c.want, conditions{string(healthy.Status), healthy.Reason, string(ready.Status), healthy.Message})
		})
	}
}

func TestEachFailureOfAProbeIsToldOnce(t *testing.T) {
	reasons := map[string][2]string{
		v1alpha1.ProbeInspect: {v1alpha1.ReasonHealthcheckFailed, "the image's HEALTHCHECK"},
	}
	for _, probe := range judges {
		t.Run(probe, func(t *testing.T) {
			want := reasons[probe]
			if want[0] == "" {
				want = [2]string{v1alpha1.ReasonProbeFailed, "the " + probe + " probe"}
			}
			s := probed(probe).record(paused).reported()
			story := func(change func()) []string {
				before := s.in.Record.Status
				s.later(time.Second)
				change()
				s.reported()
				var told []string
				for _, note := range Story(before, s.in.Record.Status) {
					if note.Reason == want[0] || note.Reason == v1alpha1.ReasonProbeRecovered {
						told = append(told, note.Type+" "+note.Reason)
						require.Contains(t, note.Message, want[1])
					}
				}
				return told
			}
			fail := func() { s.says(probe, failing) }
			recover := func() { s.says(probe, succeeding) }
			require.Empty(t, story(recover), "it did not fail before")
			for range 2 {
				require.Equal(t, []string{"Warning " + want[0]}, story(fail))
				require.Empty(t, story(fail))
				require.Equal(t, []string{"Normal " + v1alpha1.ReasonProbeRecovered}, story(recover))
				require.Empty(t, story(recover))
			}
			require.Len(t, story(fail), 1)
			require.Empty(t, story(func() { s.ends(1).silent() }))
			require.Empty(t, story(func() { s.runs().says(probe, unknown) }))
			require.Equal(t, []string{"Normal " + v1alpha1.ReasonProbeRecovered}, story(recover), "in another run")
			require.Empty(t, story(func() { s.ends(1).silent() }))
			require.Empty(t, story(func() { s.runs().says(probe, succeeding) }), "that is known")
		})
	}
}
