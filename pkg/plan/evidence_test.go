package plan

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

func TestCause(t *testing.T) {
	booted := now.Add(-30 * time.Second)
	at := func(ago time.Duration, exit engine.Exit) func(*engine.Container) {
		return func(c *engine.Container) { exit.FinishedAt = now.Add(-ago); c.Exit = &exit }
	}
	just := func(exit engine.Exit) func(*engine.Container) { return at(time.Second, exit) }
	sent := func(signal string, code int32) func(*engine.Container) {
		return func(c *engine.Container) { just(engine.Exit{Code: code})(c); c.Signal = signal }
	}
	reboot := func(in *Input) { in.Fleet.Info.BootedAt = booted }
	absence := func(in *Input) { in.Fleet.Gone, in.Fleet.Back = now.Add(-20*time.Second), now.Add(-10*time.Second) }
	away := func(in *Input) {
		in.Fleet.Reachable, in.Fleet.Reason, in.Fleet.Gone = false, "no answer", now.Add(-20*time.Second)
	}
	stopping := func(in *Input) {
		stop := StopContainer{ID: "c1", Cause: v1alpha1.TerminationProbeFailed, Why: "the liveness probe failed"}
		intent := IntentTo(stop, in.View)
		intent.ID, intent.At, intent.Deadline = "o1", now.Add(-time.Minute), now.Add(time.Minute)
		in.Intents = []Intent{*intent}
	}
	stopSignal := func(in *Input) { in.Record.Spec.StopSignal = "SIGUSR2" }
	as := func(*Input) {}

	for name, c := range map[string]struct {
		end    func(*engine.Container)
		in     func(*Input)
		reason v1alpha1.TerminationReason
		text   string
		signal string
	}{
		"exit 0":                      {just(engine.Exit{}), as, "Completed", "exit code 0", ""},
		"exit 1":                      {just(engine.Exit{Code: 1}), as, "Crashed", "exit code 1", ""},
		"a segmentation fault":        {just(engine.Exit{Code: 139}), as, "Crashed", "died of SIGSEGV, exit code 139", "SIGSEGV"},
		"137 alone":                   {just(engine.Exit{Code: 137}), as, "Crashed", "not for lack of memory", "SIGKILL"},
		"255":                         {just(engine.Exit{Code: 255}), as, "Unknown", "lost the real one", ""},
		"out of memory":               {just(engine.Exit{Code: 137, OOMKilled: true}), as, "OOMKilled", "at its limit of 512Mi", "SIGKILL"},
		"a child out of memory":       {just(engine.Exit{Code: 1, OOMKilled: true}), as, "OOMKilled", "one of its processes", ""},
		"a child once, then well":     {just(engine.Exit{OOMKilled: true}), as, "Completed", "exit code 0", ""},
		"port taken":                  {just(engine.Exit{Code: 128, Error: "in use", StartKind: engine.PortConflict}), as, "StartFailedPort", "in use", ""},
		"no mount":                    {just(engine.Exit{Code: 127, Error: "no /data/games/x", StartKind: engine.MountFailed}), as, "StartFailedMount", "no (state root)/x", ""},
		"no program":                  {just(engine.Exit{Code: 127, Error: "no /x", StartKind: engine.ProgramFailed}), as, "StartFailedImage", "no /x", ""},
		"no start":                    {just(engine.Exit{Code: 137, Error: "no user", StartKind: engine.StartFailed}), as, "StartFailedRuntime", "no user", ""},
		"our stop":                    {sent("SIGTERM", 143), stopping, "ProbeFailed", "stopped by Runtime Manager: the liveness probe failed", "SIGTERM"},
		"docker stop, obeyed":         {sent("SIGTERM", 0), as, "StoppedByHand", "SIGTERM over the engine's API, exit code 0", "SIGTERM"},
		"docker stop, not obeyed":     {sent("SIGKILL", 137), as, "StoppedByHand", "SIGKILL", "SIGKILL"},
		"docker kill -s INT":          {sent("SIGINT", 3), as, "StoppedByHand", "SIGINT", "SIGINT"},
		"the record's own signal":     {sent("SIGUSR2", 0), stopSignal, "StoppedByHand", "SIGUSR2", "SIGUSR2"},
		"killed by SIGHUP":            {sent("SIGHUP", 129), as, "StoppedByHand", "SIGHUP", "SIGHUP"},
		"a crash after a SIGHUP":      {sent("SIGHUP", 1), as, "Crashed", "exit code 1", ""},
		"out of memory, asked to end": {func(c *engine.Container) { sent("SIGTERM", 137)(c); c.Exit.OOMKilled = true }, as, "OOMKilled", "", "SIGKILL"},
		"found dead after a boot":     {at(20*time.Second, engine.Exit{Code: 255}), reboot, "HostRebooted", "started again at 2026-05-04T11:59:30Z", ""},
		"stopped before a boot":       {at(40*time.Second, engine.Exit{Code: 0}), reboot, "HostRebooted", "", ""},
		"crashed before a boot":       {at(40*time.Second, engine.Exit{Code: 2}), reboot, "Crashed", "exit code 2", ""},
		"ended long before a boot":    {at(time.Hour, engine.Exit{}), reboot, "Completed", "", ""},
		"ran after the boot": {func(c *engine.Container) {
			just(engine.Exit{Code: 255})(c)
			c.StartedAt = booted.Add(time.Second)
		}, reboot, "Unknown", "", ""},
		"down with the engine":         {at(15*time.Second, engine.Exit{Code: 137}), absence, "EngineRestarted", "away from 2026-05-04T11:59:40Z", "SIGKILL"},
		"stopped as the engine went":   {at(25*time.Second, engine.Exit{}), absence, "EngineRestarted", "", ""},
		"told by an engine that went":  {at(15*time.Second, engine.Exit{Code: 143}), away, "EngineRestarted", "", "SIGTERM"},
		"a crash behind its back":      {at(15*time.Second, engine.Exit{Code: 2}), absence, "Crashed", "exit code 2", ""},
		"an end before the engine's":   {at(50*time.Second, engine.Exit{}), absence, "Completed", "", ""},
		"an end since it came back":    {just(engine.Exit{}), absence, "Completed", "", ""},
		"memory, while it was away":    {at(15*time.Second, engine.Exit{Code: 137, OOMKilled: true}), absence, "OOMKilled", "", "SIGKILL"},
		"a signal of the dying engine": {func(c *engine.Container) { at(15*time.Second, engine.Exit{Code: 143})(c); c.Signal = "SIGTERM" }, absence, "EngineRestarted", "", "SIGTERM"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene().container("c1", engine.StateExited, c.end)
			c.in(&s.in)
			end := lastTermination(s.in)
			require.Equal(t, c.reason, end.Reason, end.Message)
			require.Contains(t, end.Message, c.text)
			require.Equal(t, c.signal, end.Signal)
			require.Equal(t, s.in.View.Containers[0].Exit.Code, end.ExitCode)
			checkStatus(t, s.in)
		})
	}
}

func TestRestartByCause(t *testing.T) {
	policies := []v1alpha1.RestartPolicy{v1alpha1.RestartAlways, v1alpha1.RestartOnFailure, v1alpha1.RestartNever}
	for reason, want := range map[v1alpha1.TerminationReason][]bool{
		v1alpha1.TerminationCompleted:          {true, false, false},
		v1alpha1.TerminationCrashed:            {true, true, false},
		v1alpha1.TerminationOOMKilled:          {true, true, false},
		v1alpha1.TerminationProbeFailed:        {true, true, false},
		v1alpha1.TerminationStoppedByHand:      {true, true, false},
		v1alpha1.TerminationUnknown:            {true, true, false},
		v1alpha1.TerminationStoppedByUs:        {true, true, true},
		v1alpha1.TerminationEngineRestarted:    {true, true, true},
		v1alpha1.TerminationHostRebooted:       {true, true, true},
		v1alpha1.TerminationStartFailedPort:    {true, true, true},
		v1alpha1.TerminationStartFailedMount:   {true, true, true},
		v1alpha1.TerminationStartFailedImage:   {true, true, true},
		v1alpha1.TerminationStartFailedRuntime: {true, true, true},
	} {
		for i, policy := range policies {
			require.Equal(t, want[i], mayRestart(policy, &v1alpha1.Termination{Reason: reason}), "%s after %s", policy, reason)
		}
	}
}

func TestWhatIsNotTheGamesFaultDoesNotSlowItDown(t *testing.T) {
	record := newScene().in.Record
	last := &v1alpha1.Termination{InARow: 3, ObservedGeneration: record.Generation}
	for reason, want := range map[v1alpha1.TerminationReason]int32{
		v1alpha1.TerminationCrashed: 4, v1alpha1.TerminationStoppedByHand: 3, v1alpha1.TerminationEngineRestarted: 3,
		v1alpha1.TerminationHostRebooted: 3, v1alpha1.TerminationStoppedByUs: 0,
	} {
		end := &v1alpha1.Termination{Reason: reason}
		require.Equal(t, want, inARow(Input{Record: record}, last, end), reason)
		if want > 0 {
			require.EqualValues(t, 1, inARow(Input{Record: record}, nil, end), "%s is counted", reason)
		}
	}
}

// A start that fails is told once, keeps the count of the end before it, and
// stays told while the engine shows that end alone.
func TestFailedStartIsTold(t *testing.T) {
	refuse := func(kind engine.Kind, text string) error {
		return &engine.Error{Op: "start container c1", Kind: kind, Err: errors.New(text)}
	}
	s := newScene().container("c1", engine.StateExited, exited(1, time.Second)).reported()
	crash := s.in.Record.Status.LastTermination
	require.EqualValues(t, 1, crash.InARow)

	s.later(time.Minute).did(StartContainer{ID: "c1"}, refuse(engine.MountFailed, "no /data/games/default/chess")).reported()
	failed := s.in.Record.Status.LastTermination
	require.Equal(t, v1alpha1.TerminationStartFailedMount, failed.Reason)
	require.Equal(t, "start container c1: no (state root)/default/chess", failed.Message)
	require.EqualValues(t, 1, failed.InARow)
	require.EqualValues(t, 128, failed.ExitCode)
	require.Equal(t, v1alpha1.ReasonStateUnavailable, s.in.Record.Status.Pending.Reason)
	_, ended := Ended(s.in)
	require.False(t, ended, "the crash that the engine shows is known")

	s.later(time.Minute).did(StartContainer{ID: "c1"}, refuse(engine.MountFailed, "no /data/games/default/chess")).reported()
	require.Equal(t, failed, s.in.Record.Status.LastTermination, "the same again is no news")
	s.later(time.Minute).did(StartContainer{ID: "c1"}, refuse(engine.PortConflict, "in use")).reported()
	require.Equal(t, v1alpha1.TerminationStartFailedPort, s.in.Record.Status.LastTermination.Reason)

	c := &s.in.View.Containers[0]
	s.later(time.Minute)
	c.State, c.Exit, c.StartedAt = engine.StateRunning, nil, s.in.Now
	s.did(StartContainer{ID: "c1"}, nil).reported()
	require.EqualValues(t, 1, s.in.Record.Status.Restarts, "one start followed the crash")
	s.later(time.Second)
	c.State, c.Exit = engine.StateExited, &engine.Exit{Code: 1, FinishedAt: s.in.Now}
	s.reported()
	require.Equal(t, v1alpha1.TerminationCrashed, s.in.Record.Status.LastTermination.Reason)
	require.EqualValues(t, 2, s.in.Record.Status.LastTermination.InARow)
}

func TestEndedAsksForTheLogOnce(t *testing.T) {
	s := newScene().container("c1", engine.StateRunning).reported()
	_, ended := Ended(s.in)
	require.False(t, ended)
	exited(3, 0)(&s.in.View.Containers[0])
	s.in.View.Containers[0].State = engine.StateExited
	id, ended := Ended(s.in)
	require.True(t, ended)
	require.Equal(t, "c1", id)
	s.in.Log = "out of turns\n"
	s.reported()
	require.Equal(t, "out of turns", s.in.Record.Status.LastTermination.Log)
	_, ended = Ended(s.in)
	require.False(t, ended)

	s = newScene().container("c1", engine.StateRunning).reported().gone()
	id, ended = Ended(s.in)
	require.True(t, ended)
	require.Empty(t, id, "there is nothing left to ask about")
}

func TestLogIsKeptInWholeLines(t *testing.T) {
	require.Equal(t, "a\nb", lastLines("a\nb\n"))
	long := strings.Repeat("turn\n", 1000)
	kept := lastLines(long)
	require.LessOrEqual(t, len(kept), 2<<10)
	require.Greater(t, len(kept), 2<<10-10)
	require.True(t, strings.HasPrefix(kept, "turn\n"))
	require.True(t, strings.HasSuffix(kept, "\nturn"))
	one := lastLines(strings.Repeat("ü", 2000) + "x")
	require.LessOrEqual(t, len(one), 2<<10)
	require.True(t, strings.HasPrefix(one, "ü"), "no half a letter: %.10q", one)
}
