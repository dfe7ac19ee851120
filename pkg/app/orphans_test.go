//go:build integration

package app

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// startByHand starts a container as an operator does.
func startByHand(t *testing.T, name string, args ...string) (id string) {
	t.Helper()
	id = dockerCLI(t, slices.Concat([]string{"run", "-d", "--name", name}, args, []string{demoImage})...)
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-fv", id).Run() })
	return id
}

func labelled(installation, game string) []string {
	return []string{
		"--label", v1alpha1.LabelInstallation + "=" + installation,
		"--label", v1alpha1.LabelNamespace + "=default", "--label", v1alpha1.LabelGame + "=" + game,
	}
}

func startedAt(t *testing.T, id string) string {
	t.Helper()
	return dockerCLI(t, "inspect", "-f", "{{.State.Running}} {{.State.StartedAt}}", id)
}

// report waits until the engine's report says so.
func (m *manager) report(what string, condition func(v1alpha1.DriftReportStatus) bool) v1alpha1.DriftReport {
	m.t.Helper()
	var all v1alpha1.DriftReportList
	m.eventually(what, func() bool {
		return m.List(context.Background(), &all) == nil && len(all.Items) == 1 && condition(all.Items[0].Status)
	})
	return all.Items[0]
}

// asWeWould is how a container is started by hand that a record can take for its
// own: docs/runtime.md shows it.
func asWeWould(m *manager, game string) []string {
	id := engine.GameID{Namespace: "default", Name: game}
	network := plan.NetworkName(m.installation())
	return append(labelled(m.installation(), game),
		"--network", network, "--network-alias", plan.Alias(id), "--publish", "8080",
		"--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", "/tmp",
		"--memory", "64m", "--cpus", "0.5", "--pids-limit", "64",
		"--env", "GAME_STATE_PATH=/var/lib/galaxy-game",
		"--mount", "type=bind,source="+m.stateDir(game)+",target=/var/lib/galaxy-game")
}

func TestOrphans(t *testing.T) {
	m := startManager(t, nil)
	installation := m.installation()
	again := func(change func(*Config)) {
		m.stop()
		m = startManager(t, func(c *Config) { c.DataDir = m.config.DataDir; change(c) })
	}
	unlabelled := startByHand(t, "galaxy-unlabelled-"+installation, "--network", "none", "--env", "GAME_STATE_PATH=/tmp")
	foreign := startByHand(t, "galaxy-foreign-"+installation,
		append(labelled("another-installation", "chess"), "--network", "none", "--env", "GAME_STATE_PATH=/tmp")...)
	untouched := startedAt(t, unlabelled) + startedAt(t, foreign)

	network := plan.NetworkName(installation)
	dockerCLI(t, "network", "create", "--label", v1alpha1.LabelInstallation+"="+installation, network)
	require.NoError(t, os.MkdirAll(m.stateDir("faithful"), 0o700))
	faithful := startByHand(t, plan.ContainerName(engine.GameID{Namespace: "default", Name: "faithful"}, installation), asWeWould(m, "faithful")...)
	foundling := startByHand(t, "galaxy-foundling-"+installation,
		append(labelled(installation, "foundling"), "--network", "none", "--env", "GAME_STATE_PATH=/tmp", "--env", "TURN_EVERY=1h")...)
	running := startedAt(t, faithful) + startedAt(t, foundling)

	t.Run("reported", func(t *testing.T) {
		again(func(*Config) {}) // one that did not see them start
		report := m.report("two orphans", func(s v1alpha1.DriftReportStatus) bool { return s.Orphans == 2 })
		require.Equal(t, v1alpha1.DriftUnrecordedContainer, report.Status.Items[0].Kind)
		require.NotEmpty(t, report.Status.Items[0].Action)
		require.True(t, meta.IsStatusConditionTrue(report.Status.Conditions, v1alpha1.ConditionReachable))
		require.True(t, meta.IsStatusConditionFalse(report.Status.Conditions, v1alpha1.ConditionFrozen))
		table, err := exec.Command(kubectlPath(), "--kubeconfig", m.kubeconfig, "get", "driftreports").CombinedOutput()
		require.NoError(t, err, "%s", table)
		for _, column := range []string{"ENGINE", "IN-SYNC", "DRIFTED", "ORPHANS", "LAST-SCAN", "AGE", report.Name} {
			require.Contains(t, string(table), column)
		}
		require.Equal(t, running, startedAt(t, faithful)+startedAt(t, foundling))
	})

	t.Run("adopted", func(t *testing.T) {
		again(func(c *Config) { c.Orphans = "adopt" })
		m.eventually("both have records", func() bool {
			var all v1alpha1.GameRuntimeList
			return m.List(context.Background(), &all) == nil && len(all.Items) == 2
		})
		g := m.await("faithful", "in sync", isInSync)
		require.Equal(t, v1alpha1.DriftEnforce, g.Spec.DriftPolicy)
		require.Equal(t, faithful, g.Status.Container.ID)
		require.Empty(t, g.Status.Drift)
		require.Equal(t, 1, turnOn(t, g.Status.Container.HostPorts["tcp-8080"]))

		f := m.await("foundling", "a difference", func(g *v1alpha1.GameRuntime) bool { return len(g.Status.Drift) > 0 })
		require.Equal(t, v1alpha1.DriftObserve, f.Spec.DriftPolicy)
		require.Equal(t, foundling, f.Status.Container.ID)
		require.Equal(t, []v1alpha1.EnvVar{{Name: "TURN_EVERY", Value: "1h"}}, f.Spec.Env)
		require.Contains(t, fields(f.Status.Drift), "network")
		require.Equal(t, running, startedAt(t, faithful)+startedAt(t, foundling), "nothing was touched")
		m.report("no orphans", func(s v1alpha1.DriftReportStatus) bool { return s.Orphans == 0 && s.InSync == 1 && s.Drifted == 1 })

		require.NoError(t, os.MkdirAll(m.stateDir("foundling"), 0o700)) // its state, put where the record has it
		m.update("foundling", func(s *v1alpha1.GameRuntimeSpec) { s.DriftPolicy = v1alpha1.DriftEnforce })
		f = m.await("foundling", "taken over", func(g *v1alpha1.GameRuntime) bool {
			return isInSync(g) && g.Status.Container.ID != foundling
		})
		require.Equal(t, plan.ContainerName(plan.GameOf(f), installation), f.Status.Container.Name)
	})

	t.Run("removed", func(t *testing.T) {
		again(func(c *Config) { c.Orphans, c.OrphanGrace = "remove", time.Second })
		require.NoError(t, os.MkdirAll(m.stateDir("stray"), 0o700))
		stray := startByHand(t, "galaxy-stray-"+installation, asWeWould(m, "stray")...)
		m.eventually("it is gone", func() bool { return exec.Command("docker", "inspect", stray).Run() != nil })
		require.DirExists(t, m.stateDir("stray"))
		require.Len(t, m.containers("faithful"), 1, "what was adopted has a record")
		err := m.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: "stray"}, &v1alpha1.GameRuntime{})
		require.True(t, apierrors.IsNotFound(err), "%v", err)
	})
	require.Equal(t, untouched, startedAt(t, unlabelled)+startedAt(t, foreign), "what is not ours survives it all")
}

func isInSync(g *v1alpha1.GameRuntime) bool {
	c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionInSync)
	return c != nil && c.Status == "True" && c.ObservedGeneration == g.Generation
}

func fields(drift []v1alpha1.Drift) string {
	var names []string
	for _, d := range drift {
		names = append(names, d.Field)
	}
	return strings.Join(names, " ")
}

func turnOn(t *testing.T, port int32) int {
	t.Helper()
	g := &v1alpha1.GameRuntime{}
	g.Status.Container = &v1alpha1.ContainerStatus{HostPorts: map[string]int32{"http": port}}
	require.NotZero(t, port, "no port is published")
	return turn(t, g)
}
