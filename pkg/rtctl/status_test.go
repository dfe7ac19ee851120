package rtctl

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

func TestStatus(t *testing.T) {
	var away atomic.Bool
	server := apiservertest.Start(t, func(o *apiserver.Options) {
		o.Dependencies.Used = append(o.Dependencies.Used, apiserver.Check("engine", func(context.Context) error {
			if away.Load() {
				return errors.New("not reachable: connection refused")
			}
			return nil
		}))
	})
	here(t)
	t.Setenv("KUBECONFIG", server.Kubeconfig())
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	ask := func(args ...string) (told managerStatus, err error) {
		stdout, _, err := rtctl(t, append([]string{"status", "-o", "json"}, args...)...)
		require.NoError(t, json.Unmarshal([]byte(stdout), &told), "%v", err)
		return told, err
	}

	told, err := ask()
	require.Equal(t, &failure{code: 1}, err)
	require.False(t, told.Ready, "nobody leads")
	require.Equal(t, &leader{}, told.Leader)

	leases := client.CoordinationV1().Leases(metav1.NamespaceDefault)
	renewed := time.Now().Add(-time.Second).Truncate(time.Microsecond)
	lease, err := leases.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "runtime-manager"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("host_1234"), LeaseDurationSeconds: ptr.To[int32](60),
			AcquireTime: ptr.To(metav1.NewMicroTime(began)), RenewTime: ptr.To(metav1.NewMicroTime(renewed)),
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	server.Namespace(t, "counted")
	in(t, "apply", "-n", "counted", "-f", file(t, chess), "-f", file(t, strings.Replace(chess, "name: chess", "name: go", 1)))
	ready := grown()
	ready.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready", LastTransitionTime: metav1.NewTime(began)}}
	ready.Phase = "Running"
	report(t, records(t, server, "gameruntimes").Namespace("counted"), "chess", ready)
	in(t, "patch", "gr", "go", "-n", "counted", "--type=merge", "-p", `{"spec":{"state":"Stopped"}}`)
	orphans := orphaned("counted/stray")
	orphans.Orphans = 1
	engineReport(t, server, "host", orphans)

	told, err = ask()
	require.NoError(t, err)
	require.True(t, told.Ready)
	require.Contains(t, told.Dependencies, dependency{Name: "postgres", State: stateOK})
	require.Contains(t, told.Dependencies, dependency{Name: "engine", State: stateOK})
	for _, d := range told.Dependencies {
		require.NotContains(t, d.Name, "poststarthook")
	}
	require.Equal(t, "host_1234", told.Leader.Holder)
	require.True(t, told.Leader.Leads)
	require.True(t, renewed.Equal(told.Leader.Renewed))
	require.Equal(t, &gamesStatus{Total: 2, Wanted: 1, Ready: 1, Drifted: 1, Phases: map[string]int{"Running": 1, "not seen yet": 1}}, told.Games)
	require.Equal(t, []engineSeen{{Name: "host", Reachable: true, Orphans: 1}}, told.Engines)
	require.Contains(t, told.Version, "runtime-manager")
	stdout, _, err := rtctl(t, "status")
	require.NoError(t, err)
	require.Regexp(t, `\nLeader +host_1234, since .*\nGames +2, 1 of 1 that are to run are ready, 1 with drift\n(.*\n)*The manager is ready.\n$`, stdout)

	away.Store(true)
	told, err = ask()
	require.Equal(t, &failure{code: 1}, err)
	require.Contains(t, told.Dependencies, dependency{Name: "engine", State: stateDegraded, Reason: "not reachable: connection refused"})
	told, err = ask("--as", "somebody", "--as-group", "galaxy:viewers")
	require.Equal(t, &failure{code: 1}, err)
	require.Contains(t, told.Dependencies, dependency{Name: "engine", State: stateDegraded, Reason: "reason withheld"}, "why is not for everybody")
	require.NotNil(t, told.Games)
	away.Store(false)

	told, err = ask("--as", "stranger")
	require.NoError(t, err)
	require.Nil(t, told.Games)
	require.Len(t, told.Untold, 3)
	require.Contains(t, told.Untold[1], "the games: ")
	require.Contains(t, told.Untold[1], "cannot list resource")

	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now().Add(-time.Hour)))
	_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
	require.NoError(t, err)
	told, err = ask()
	require.Equal(t, &failure{code: 1}, err)
	require.False(t, told.Leader.Leads)

	_, _, err = rtctl(t, "status", "--kubeconfig", unreachable(t))
	require.ErrorContains(t, err, "no manager answers at https://127.0.0.1:1")
	_, _, err = rtctl(t, "status", "-o", "wide")
	require.EqualError(t, err, `--output: must be text, json or yaml, is "wide"`)
}

// What people read, on one screen.
func TestTellStatus(t *testing.T) {
	s := &managerStatus{
		Server: "https://127.0.0.1:7443", Version: "v1.37.2+runtime-manager.v0.3.0", Client: "v0.3.1", at: began.Add(time.Minute),
		Dependencies: []dependency{{Name: "postgres", State: stateOK}, {Name: "engine", State: stateDegraded, Reason: "not reachable"}, {Name: "crds", State: stateFailed, Reason: "starting"}},
		Leader:       &leader{Holder: "host_1234", Leads: true, Since: began, Renewed: began.Add(58 * time.Second)},
		Games:        &gamesStatus{Total: 14, Wanted: 13, Ready: 12, Drifted: 1, Phases: map[string]int{"Stopped": 1, "Running": 12, "Pulling": 1}},
		Engines:      []engineSeen{{Name: "host", Orphans: 2, Frozen: "5 of 14 vanished"}},
		Untold:       []string{"the weather: nobody knows"},
	}
	var out strings.Builder
	require.NoError(t, s.tell(&out, false, time.UTC))
	require.Equal(t, `Server         https://127.0.0.1:7443, v1.37.2+runtime-manager.v0.3.0
Client         v0.3.1
Dependencies   postgres   ok
               engine     DEGRADED: not reachable
               crds       FAILED: starting
Leader         host_1234, since 2026-11-25 16:00:00, renewed 2s ago
Games          14, 12 of 13 that are to run are ready, 1 with drift
Phases         Pulling 1, Running 12, Stopped 1
Engine         host, DOES NOT ANSWER, 2 containers without a record, FROZEN: 5 of 14 vanished
Not told       the weather: nobody knows
The manager is NOT ready.
`, out.String())
	require.Equal(t, "NOBODY: host_1234 did, and renewed its lease 2s ago", (&leader{Holder: "host_1234", Renewed: began.Add(58 * time.Second)}).tell(s.at, time.UTC))
	require.Equal(t, "NOBODY", (&leader{}).tell(s.at, time.UTC))
}
