package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// longAgo is before anything in stories; the last entry is an hour old or less.
var longAgo = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// stories are the histories that the server under test can read, by game.
var stories = map[string][]v1alpha1.HistoryEntry{
	"chess": {
		{At: metav1.NewMicroTime(longAgo.Add(time.Hour)), Kind: v1alpha1.HistoryOperation, What: v1alpha1.ActionCreate, Outcome: v1alpha1.OperationSucceeded},
		{At: metav1.NewMicroTime(longAgo.Add(2 * time.Hour)), Kind: v1alpha1.HistoryOperation, What: v1alpha1.ActionStart, Outcome: v1alpha1.OperationSucceeded},
		{At: metav1.NewMicroTime(time.Now().Add(-time.Minute)), Kind: v1alpha1.HistoryHealth, What: string(v1alpha1.HealthContainerExited)},
	},
	"gone": {{At: metav1.NewMicroTime(longAgo), Kind: v1alpha1.HistoryOperation, What: v1alpha1.ActionRemove, Outcome: v1alpha1.OperationSucceeded}},
}

// readStories is a HistoryReader; the game broken is one that no database tells of.
func readStories(_ context.Context, game types.NamespacedName, since time.Time, limit int) (told []v1alpha1.HistoryEntry, err error) {
	if game.Name == "broken" {
		return nil, errors.New("dial tcp 10.1.2.3:5432: connection refused")
	}
	for _, entry := range stories[game.Name] {
		if !entry.At.Time.Before(since) {
			told = append(told, entry)
		}
	}
	return told[max(0, len(told)-limit):], nil
}

func historyPath(namespace, game string, query url.Values) string {
	return fmt.Sprintf("/apis/runtime.galaxy.io/v1alpha1/namespaces/%s/gameruntimes/%s/history?%s", namespace, game, query.Encode())
}

// history asks as the administrator.
func (a *api) history(namespace, game string, query url.Values) (*v1alpha1.GameRuntimeHistory, error) {
	client, err := kubernetes.NewForConfig(a.admin)
	require.NoError(a.t, err)
	answer := client.CoreV1().RESTClient().Get().RequestURI(historyPath(namespace, game, query)).Do(a.t.Context())
	if err := answer.Error(); err != nil {
		return nil, err
	}
	content, err := answer.Raw()
	require.NoError(a.t, err)
	told := &v1alpha1.GameRuntimeHistory{}
	require.NoError(a.t, json.Unmarshal(content, told))
	return told, nil
}

func testHistory(t *testing.T, a *api) {
	namespace := a.namespace("stories")
	for _, name := range []string{"chess", "young"} {
		_, err := a.games(namespace).Create(t.Context(), game(name), metav1.CreateOptions{})
		require.NoError(t, err)
	}
	whats := func(game string, query url.Values) []string {
		told, err := a.history(namespace, game, query)
		require.NoError(t, err)
		require.Equal(t, "runtime.galaxy.io/v1alpha1, Kind=GameRuntimeHistory", told.GroupVersionKind().String())
		require.NotNil(t, told.Items)
		found := []string{}
		for _, entry := range told.Items {
			found = append(found, entry.What)
		}
		return found
	}
	require.Equal(t, []string{"create", "start", "container_exited"}, whats("chess", nil), "the newest is last")
	require.Equal(t, []string{"start", "container_exited"}, whats("chess", url.Values{"limit": {"2"}}), "the newest are kept")
	require.Equal(t, []string{"container_exited"}, whats("chess", url.Values{"since": {"3600"}}))
	require.Empty(t, whats("chess", url.Values{"since": {"1"}}))
	require.Equal(t, []string{"start", "container_exited"}, whats("chess", url.Values{"since": {longAgo.Add(2 * time.Hour).Format(time.RFC3339)}}))
	require.Empty(t, whats("young", nil), "a record without a story yet")
	require.Equal(t, []string{"remove"}, whats("gone", nil), "a story without a record")
	require.Empty(t, whats("gone", url.Values{"since": {"1"}}), "an older one")
}

func testNoHistory(t *testing.T, a *api) {
	for _, query := range []url.Values{nil, {"since": {"60"}}} {
		_, err := a.history("default", "no-such-game", query)
		require.True(t, apierrors.IsNotFound(err), "%v", err)
		require.ErrorContains(t, err, `gameruntimes.runtime.galaxy.io "no-such-game" not found`)
	}
	_, err := a.history("default", "broken", nil)
	require.True(t, apierrors.IsServiceUnavailable(err), "%v", err)
	require.NotContains(t, err.Error(), "10.1.2.3", "what is inside stays inside")
}

func testBadHistory(t *testing.T, a *api) {
	for _, c := range []struct{ parameter, value string }{
		{"limit", "0"}, {"limit", "-1"}, {"limit", "many"}, {"limit", "1000000"},
		{"since", "yesterday"}, {"since", "-5"}, {"since", "1h"}, {"since", "99999999999999999999"},
	} {
		_, err := a.history("default", "chess", url.Values{c.parameter: {c.value}})
		require.True(t, apierrors.IsBadRequest(err), "%s=%s: %v", c.parameter, c.value, err)
		require.ErrorContains(t, err, c.parameter+": Invalid value")
	}
	client, err := kubernetes.NewForConfig(a.admin)
	require.NoError(t, err)
	path := historyPath("default", "chess", nil)
	err = client.CoreV1().RESTClient().Delete().RequestURI(path).Do(t.Context()).Error()
	require.True(t, apierrors.IsMethodNotSupported(err), "%v", err)
	err = client.CoreV1().RESTClient().Get().RequestURI("/apis/runtime.galaxy.io/v1alpha1/namespaces/default/gameruntimes/chess/history/more").Do(t.Context()).Error()
	require.True(t, apierrors.IsNotFound(err), "nothing is below it: %v", err)
}

func testHistoryIdentity(t *testing.T, a *api) {
	stranger, err := a.creds.authority.client("somebody", []string{"galaxy:strangers"}, time.Now())
	require.NoError(t, err)
	path := historyPath("default", "chess", nil)
	code, body := a.call(path, "", nil)
	require.Equal(t, http.StatusUnauthorized, code, body)
	code, body = a.call(path, "", &stranger)
	require.Equal(t, http.StatusForbidden, code, body)
	require.Contains(t, body, `cannot get resource \"gameruntimes/history\" in API group \"runtime.galaxy.io\" in the namespace \"default\"`)
}

// Both forms of discovery name it: the one that client-go asks for first, and
// the one of a single group.
func testHistoryDiscovery(t *testing.T, a *api) {
	client, err := discovery.NewDiscoveryClientForConfig(a.admin)
	require.NoError(t, err)
	version := schema.GroupVersion{Group: "runtime.galaxy.io", Version: "v1alpha1"}
	_, aggregated, failed, err := client.GroupsAndMaybeResources()
	require.NoError(t, err)
	require.Empty(t, failed)
	single, err := client.ServerResourcesForGroupVersion(version.String())
	require.NoError(t, err)
	for form, list := range map[string]*metav1.APIResourceList{"aggregated": aggregated[version], "single": single} {
		found := map[string]metav1.APIResource{}
		for _, resource := range list.APIResources {
			found[resource.Name] = resource
		}
		require.Contains(t, found, "gameruntimes", form)
		require.Contains(t, found, "gameruntimes/status", form)
		require.Equal(t, "GameRuntimeHistory", found["gameruntimes/history"].Kind, form)
		require.Equal(t, metav1.Verbs{"get"}, found["gameruntimes/history"].Verbs, form)
		require.NotContains(t, found, "driftreports/history", form)
	}
}
