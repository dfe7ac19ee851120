package command

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

func TestCommander(t *testing.T) {
	server := apiservertest.Start(t)
	for name, run := range map[string]func(*testing.T, *desk){
		"a start declares a game":                  testStartDeclares,
		"a start keeps what others declared":       testStartKeeps,
		"a start declares all that a caller wants": testStartGivesUp,
		"a start without a spec":                   testStartBare,
		"a start that cannot be":                   testStartRefused,
		"a stop":                                   testStop,
		"a restart":                                testRestart,
		"two restarts in a second":                 testRestartTwice,
		"a restart heard of before":                testRestartHeardBefore,
		"a patch":                                  testPatch,
		"a clean-up":                               testCleanUp,
		"a game without a record":                  testNoRecord,
		"a record being deleted":                   testDeleting,
		"a wish delivered twice":                   testDeliveredTwice,
		"wishes forgotten":                         testForgotten,
		"a revision":                               testRevision,
		"a field taken over meanwhile":             testTakenOver,
		"a revision changed meanwhile":             testChangedMeanwhile,
		"a game declared anew meanwhile":           testDeclaredAnew,
		"many at once":                             testManyAtOnce,
		"somebody without rights":                  testForbidden,
		"a namespace that is missing":              testNoNamespace,
		"a caller who does not wait":               testNoTime,
		"a wait":                                   testAwait,
		"a wait for what goes":                     testAwaitGone,
		"a wait that takes too long":               testAwaitOverdue,
		"trouble":                                  testTrouble,
	} {
		t.Run(name, func(t *testing.T) {
			run(t, newDesk(t, server, server.Namespace(t, strings.ReplaceAll(name, " ", "-"))))
		})
	}
}

func testStartDeclares(t *testing.T, d *desk) {
	answer := d.start(spec(`{"env":[{"name":"A","value":"1"}],"resources":{"memory":"1Gi"}}`))
	require.Empty(t, answer.ErrorCode)
	record := d.record()
	require.Equal(t, record, answer.Record)
	require.Equal(t, Accepted{Verb: VerbStart, Game: "chess", UID: record.UID, Generation: 1, Image: image}, answer.Accepted)
	require.Equal(t, v1alpha1.StateRunning, record.Spec.State)
	require.Equal(t, image, record.Spec.Image)
	require.Equal(t, []v1alpha1.EnvVar{{Name: "A", Value: "1"}}, record.Spec.Env)
	require.Equal(t, "1Gi", record.Spec.Resources.Memory.String())
	require.Equal(t, "galaxy-lobby", record.AskedBy())
	require.Empty(t, record.Annotations)

	d.unchanged(func() {
		again, err := d.Start(t.Context(), Start{Wish: of(master), Image: image})
		requireNoOp(t, again, err)
		require.EqualValues(t, 1, again.Accepted.Generation)
		d.start(spec(`{"env":[{"name":"A","value":"1"}],"resources":{"memory":"1Gi"}}`))
	})
}

func testStartKeeps(t *testing.T, d *desk) {
	d.start(spec(`{"env":[{"name":"A","value":"1"}]}`))
	d.byHand(`{"spec":{"env":[{"name":"A","value":"2"},{"name":"B","value":"2"}],"workingDir":"/tmp","stopSignal":"SIGINT"}}`)
	answer := d.start(spec(`{"env":[{"name":"A","value":"3"}],"stopSignal":"SIGQUIT"}`))
	require.Equal(t, []v1alpha1.EnvVar{{Name: "A", Value: "3"}, {Name: "B", Value: "2"}}, answer.Record.Spec.Env, "its own, and another's")
	require.Equal(t, "/tmp", answer.Record.Spec.WorkingDir)
	require.Equal(t, "SIGQUIT", answer.Record.Spec.StopSignal, "a field that the wish names")
	require.EqualValues(t, 3, answer.Accepted.Generation)
	answer, err := d.Start(t.Context(), Start{Wish: of(master), Spec: json.RawMessage(`{"env":[{"name":"B","value":"2"}]}`)})
	requireNoOp(t, answer, err)

	_, err = d.Stop(t.Context(), of(lobby))
	require.NoError(t, err)
	stored, _, err := d.read(t.Context(), "chess")
	require.NoError(t, err)
	require.Equal(t, []any{map[string]any{"name": "A", "value": "3"}}, owned(stored, "galaxy-lobby")["env"], "nor does a stop take anything over")
}

func testStartGivesUp(t *testing.T, d *desk) {
	d.start(spec(`{"env":[{"name":"A","value":"1"},{"name":"B","value":"1"}],"workingDir":"/tmp","args":["-x"]}`))
	answer := d.start(func(s *Start) { s.Image = "" }, spec(`{"env":[{"name":"B","value":"1"}]}`))
	require.Empty(t, answer.ErrorCode, "it is no replay")
	require.Equal(t, image, answer.Record.Spec.Image, "no record can be without")
	require.Equal(t, []v1alpha1.EnvVar{{Name: "B", Value: "1"}}, answer.Record.Spec.Env)
	require.Empty(t, answer.Record.Spec.WorkingDir)
	require.Empty(t, answer.Record.Spec.Args)
}

func testStartBare(t *testing.T, d *desk) {
	d.start(spec(`{"env":[{"name":"A","value":"1"}],"ports":[{"name":"http","containerPort":80}],"args":["-x"],
		"securityContext":{"capabilities":{"add":["KILL","CHOWN"]}},"storage":{"reclaimPolicy":"Delete"},"resources":{"memory":"1Gi"}}`))
	before := d.record().Spec
	_, err := d.Stop(t.Context(), of(lobby))
	require.NoError(t, err)
	answer := d.start(func(s *Start) { s.Image = newer })
	before.Image = newer
	require.Equal(t, before, answer.Record.Spec, "neither a stop nor a start without a spec gives anything up")
	answer = d.start(func(s *Start) { s.Image = "" })
	require.Equal(t, newer, answer.Record.Spec.Image)

	_, err = d.Start(t.Context(), Start{Wish: of(lobby), Image: newer, Spec: json.RawMessage(`{}`)})
	require.NoError(t, err)
	require.Empty(t, d.record().Spec.Env, "and what was carried over is still its own to give up")
	require.Empty(t, d.record().Spec.Ports)
	require.Empty(t, d.record().Spec.SecurityContext.Capabilities.Add)
	require.Equal(t, v1alpha1.ReclaimRetain, d.record().Spec.Storage.ReclaimPolicy)
}

func testStartRefused(t *testing.T, d *desk) {
	for name, c := range map[string]struct {
		edit        func(*Start)
		code, field string
	}{
		"no image":                {func(s *Start) { s.Image = "" }, v1alpha1.CodeInvalidRequest, "image"},
		"no image, a spec":        {func(s *Start) { s.Image, s.Spec = "", json.RawMessage(`{}`) }, v1alpha1.CodeInvalidRequest, "image"},
		"no game":                 {func(s *Start) { s.Game = "" }, v1alpha1.CodeInvalidRequest, "game"},
		"a game that is none":     {func(s *Start) { s.Game = "Chess" }, v1alpha1.CodeInvalidRequest, "game"},
		"a game with a slash":     {func(s *Start) { s.Game = "a/../b" }, v1alpha1.CodeInvalidRequest, "game"},
		"a game name too long":    {func(s *Start) { s.Game = strings.Repeat("a", 64) }, v1alpha1.CodeInvalidRequest, "game"},
		"no caller":               {func(s *Start) { s.Caller = "" }, v1alpha1.CodeInvalidRequest, "caller"},
		"a caller with a blank":   {func(s *Start) { s.Caller = "the lobby" }, v1alpha1.CodeInvalidRequest, "caller"},
		"a caller too long":       {func(s *Start) { s.Caller = strings.Repeat("a", 64) }, v1alpha1.CodeInvalidRequest, "caller"},
		"an id with a blank":      {func(s *Start) { s.ID = "job 1" }, v1alpha1.CodeInvalidRequest, "id"},
		"an id too long":          {func(s *Start) { s.ID = strings.Repeat("a", 129) }, v1alpha1.CodeInvalidRequest, "id"},
		"no JSON":                 {spec(`{"env":`), v1alpha1.CodeInvalidRequest, "spec"},
		"no JSON at all":          {spec(``), v1alpha1.CodeInvalidRequest, "spec"},
		"no object":               {spec(`[]`), v1alpha1.CodeInvalidRequest, "spec"},
		"nothing":                 {spec(`null`), v1alpha1.CodeInvalidRequest, "spec"},
		"a field nobody knows":    {spec(`{"colour":"red"}`), v1alpha1.CodeInvalidRequest, "spec.colour"},
		"one further down":        {spec(`{"env":[{"name":"A","valu":"1"}]}`), v1alpha1.CodeInvalidRequest, "spec.env[0].valu"},
		"a field twice":           {spec(`{"args":[],"args":[]}`), v1alpha1.CodeInvalidRequest, "spec.args"},
		"another state":           {spec(`{"state":"Stopped"}`), v1alpha1.CodeInvalidRequest, "spec.state"},
		"two images":              {spec(`{"image":%q}`, newer), v1alpha1.CodeInvalidRequest, "spec.image"},
		"an image that is none":   {func(s *Start) { s.Image = "Not An Image" }, v1alpha1.CodeInvalidRequest, "spec.image"},
		"an image with no tag":    {func(s *Start) { s.Image = "galaxy/demo-game" }, v1alpha1.CodeImageRefNotSemver, "spec.image"},
		"a tag of no version":     {func(s *Start) { s.Image = "galaxy/demo-game:latest" }, v1alpha1.CodeImageRefNotSemver, "spec.image"},
		"no quantity":             {spec(`{"resources":{"memory":"lots"}}`), v1alpha1.CodeStartConfigInvalid, "spec.resources.memory"},
		"too small a quantity":    {spec(`{"resources":{"cpu":"0"}}`), v1alpha1.CodeStartConfigInvalid, "spec.resources.cpu"},
		"a number that is none":   {spec(`{"stopGracePeriodSeconds":"soon"}`), v1alpha1.CodeInvalidRequest, ""},
		"a number too large":      {spec(`{"stopGracePeriodSeconds":4000}`), v1alpha1.CodeStartConfigInvalid, "spec.stopGracePeriodSeconds"},
		"a privilege":             {spec(`{"securityContext":{"capabilities":{"add":["SYS_ADMIN"]}}}`), v1alpha1.CodeStartConfigInvalid, "spec.securityContext.capabilities.add[0]"},
		"a port twice":            {spec(`{"ports":[{"name":"a","containerPort":1,"hostPort":9},{"name":"b","containerPort":2,"hostPort":9}]}`), v1alpha1.CodeStartConfigInvalid, "spec.ports"},
		"a revision of no record": {func(s *Start) { s.Revision = "1" }, v1alpha1.CodeConflict, "revision"},
		"3 MB":                    {spec(`{"args":[%q]}`, strings.Repeat("a", 3<<20)), v1alpha1.CodeInvalidRequest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wish := Start{Wish: of(lobby), Image: image}
			c.edit(&wish)
			answer, err := d.Start(t.Context(), wish)
			refusedWith(t, err, c.code, c.field)
			e := errorOf(t, err)
			require.False(t, e.Retryable, "the same is refused again")
			require.Zero(t, answer)
			require.Equal(t, Failure, Failed(err).Outcome)
			require.Equal(t, c.code, Failed(err).ErrorCode)
			require.NotEmpty(t, Failed(err).Message)
		})
	}
	_, record, err := d.read(t.Context(), "chess")
	require.NoError(t, err)
	require.Nil(t, record, "nothing was written")
}

func testStop(t *testing.T, d *desk) {
	d.start(spec(`{"env":[{"name":"A","value":"1"}]}`))
	before := d.record().Spec
	answer, err := d.Stop(t.Context(), of(master))
	require.NoError(t, err)
	require.Equal(t, Result{Outcome: Success}, answer.Result)
	require.EqualValues(t, 2, answer.Accepted.Generation)
	stored, _, err := d.read(t.Context(), "chess")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"state": "Stopped"}, owned(stored, "galaxy-game-master"), "it manages what it asked for, and nothing else")
	require.NotContains(t, owned(stored, "galaxy-lobby"), "state")
	before.State = v1alpha1.StateStopped
	require.Equal(t, before, answer.Record.Spec)
	d.unchanged(func() {
		for _, caller := range []string{master, lobby, "admin"} {
			answer, err := d.Stop(t.Context(), of(caller))
			requireNoOp(t, answer, err)
		}
	})
	require.Equal(t, v1alpha1.StateRunning, d.start().Record.Spec.State, "the lobby may start it again")
}

func testRestart(t *testing.T, d *desk) {
	d.start()
	now := time.Date(2026, 5, 4, 12, 0, 0, 1, time.UTC)
	d.now = func() time.Time { return now }
	answer, err := d.Restart(t.Context(), Restart{Wish: of(master)})
	require.NoError(t, err)
	require.EqualValues(t, 2, answer.Accepted.Generation)
	require.True(t, answer.Record.Spec.RestartedAt.Time.Equal(now.Truncate(time.Second)))

	_, err = d.Stop(t.Context(), of(master))
	require.NoError(t, err)
	_, err = d.Restart(t.Context(), Restart{Wish: of(master)})
	refusedWith(t, err, v1alpha1.CodeConflict, "")
}

func testRestartTwice(t *testing.T, d *desk) {
	d.start()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	d.now = func() time.Time { return now }
	for i := range 3 {
		answer, err := d.Restart(t.Context(), Restart{Wish: of(master)})
		require.NoError(t, err)
		require.Empty(t, answer.ErrorCode)
		require.EqualValues(t, i+2, answer.Accepted.Generation, "each is another one")
	}
}

func testRestartHeardBefore(t *testing.T, d *desk) {
	d.start()
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	d.now = func() time.Time { return now }
	restart := func(at time.Time) Answer {
		answer, err := d.Restart(t.Context(), Restart{Wish: of(master), At: at})
		require.NoError(t, err)
		return answer
	}
	require.Empty(t, restart(now.Add(-time.Minute)).ErrorCode)
	d.unchanged(func() {
		require.Equal(t, v1alpha1.CodeReplayNoOp, restart(now.Add(-time.Minute)).ErrorCode)
		require.Equal(t, v1alpha1.CodeReplayNoOp, restart(now.Add(-time.Hour)).ErrorCode, "it was restarted since")
	})
	later := restart(now.Add(time.Hour))
	require.Empty(t, later.ErrorCode)
	require.True(t, later.Record.Spec.RestartedAt.Time.Equal(now), "nobody hears of a wish before it is made")
}

func testPatch(t *testing.T, d *desk) {
	d.start()
	patch := func(image string) (Answer, error) {
		return d.Patch(t.Context(), Patch{Wish: of(master), Image: image})
	}
	answer, err := patch(newer)
	require.NoError(t, err)
	require.Equal(t, newer, answer.Record.Spec.Image)
	require.Equal(t, newer, answer.Accepted.Image)
	require.EqualValues(t, 2, answer.Accepted.Generation)
	d.unchanged(func() {
		answer, err := patch(newer)
		requireNoOp(t, answer, err)
		_, err = patch("")
		refusedWith(t, err, v1alpha1.CodeInvalidRequest, "image")
		_, err = patch("galaxy/demo-game:1.1.0")
		refusedWith(t, err, v1alpha1.CodeSemverPatchOnly, "spec.image")
		_, err = patch("galaxy/demo-game:stable")
		refusedWith(t, err, v1alpha1.CodeImageRefNotSemver, "spec.image")
		_, err = patch("not:an:image")
		refusedWith(t, err, v1alpha1.CodeInvalidRequest, "spec.image")
		_, err = d.Start(t.Context(), Start{Wish: of(lobby), Image: "galaxy/demo-game:2.0.0"})
		refusedWith(t, err, v1alpha1.CodeSemverPatchOnly, "spec.image")
		_, err = d.Start(t.Context(), Start{Wish: of(lobby), Spec: json.RawMessage(`{"storage":{"mountPath":"/elsewhere"}}`)})
		refusedWith(t, err, v1alpha1.CodeStartConfigInvalid, "spec.storage.mountPath")
	})
	d.start(func(s *Start) { s.Image = "galaxy/demo-game:stable" }, spec(`{"update":{"policy":"Any"}}`))
	_, err = d.Start(t.Context(), Start{Wish: of(lobby), Spec: json.RawMessage(`{"update":{"policy":"Minor"}}`)})
	refusedWith(t, err, v1alpha1.CodeImageRefNotSemver, "spec.image")
	answer, err = patch("galaxy/demo-game:newest")
	require.NoError(t, err)
	require.Empty(t, answer.ErrorCode)
}

func testCleanUp(t *testing.T, d *desk) {
	uid := d.start().Record.UID
	answer, err := d.CleanUp(t.Context(), of(master))
	require.NoError(t, err)
	require.Equal(t, Result{Outcome: Success}, answer.Result)
	require.Equal(t, uid, answer.Accepted.UID)
	require.Nil(t, answer.Record, "nothing holds it here")
	answer, err = d.CleanUp(t.Context(), of(master))
	requireNoOp(t, answer, err)
	require.Nil(t, answer.Record)
	_, err = d.CleanUp(t.Context(), Wish{Game: "chess"})
	refusedWith(t, err, v1alpha1.CodeInvalidRequest, "caller")
}

func testNoRecord(t *testing.T, d *desk) {
	_, err := d.Stop(t.Context(), of(master))
	refusedWith(t, err, v1alpha1.CodeNotFound, "")
	_, err = d.Restart(t.Context(), Restart{Wish: of(master)})
	refusedWith(t, err, v1alpha1.CodeNotFound, "")
	_, err = d.Patch(t.Context(), Patch{Wish: of(master), Image: image})
	refusedWith(t, err, v1alpha1.CodeNotFound, "")
}

func testDeleting(t *testing.T, d *desk) {
	before := d.start().Accepted.Generation
	d.byHand(`{"metadata":{"finalizers":["runtime.galaxy.io/engine"]}}`)
	answer, err := d.CleanUp(t.Context(), of(master))
	require.NoError(t, err)
	require.Empty(t, answer.ErrorCode)
	require.NotNil(t, answer.Record.DeletionTimestamp)
	require.Equal(t, answer.Record.Generation, answer.Accepted.Generation)
	require.Greater(t, answer.Accepted.Generation, before, "what failed before the deletion is no failure of it")
	d.unchanged(func() {
		answer, err := d.CleanUp(t.Context(), of(lobby))
		requireNoOp(t, answer, err)
		require.NotNil(t, answer.Record)
		for _, wish := range []func() (Answer, error){
			func() (Answer, error) { return d.Start(t.Context(), Start{Wish: of(lobby), Image: image}) },
			func() (Answer, error) { return d.Stop(t.Context(), of(lobby)) },
			func() (Answer, error) { return d.Restart(t.Context(), Restart{Wish: of(lobby)}) },
			func() (Answer, error) { return d.Patch(t.Context(), Patch{Wish: of(lobby), Image: newer}) },
		} {
			_, err := wish()
			refusedWith(t, err, v1alpha1.CodeConflict, "")
			require.True(t, errorOf(t, err).Retryable, "it will be gone")
		}
	})
}

func testDeliveredTwice(t *testing.T, d *desk) {
	id := func(s *Start) { s.ID = "job-1" }
	first := d.start(id)
	require.Equal(t, "lobby/start/job-1", first.Record.Annotations[v1alpha1.AnnotationWish])
	d.unchanged(func() {
		require.Equal(t, first, d.start(id), "the same answer")
	})
	stop := of(lobby)
	stop.ID = "job-1" // another verb's
	_, err := d.Stop(t.Context(), stop)
	require.NoError(t, err)
	d.unchanged(func() {
		again := d.start(id)
		require.Empty(t, again.ErrorCode)
		require.Equal(t, v1alpha1.StateStopped, again.Record.Spec.State, "it was carried out once, before the stop")
	})
	restart := Restart{Wish: Wish{Game: "chess", Caller: master, ID: "job-1"}}
	_, err = d.Start(t.Context(), Start{Wish: of(master)})
	require.NoError(t, err)
	answer, err := d.Restart(t.Context(), restart)
	require.NoError(t, err)
	require.Equal(t, "game-master/restart/job-1 lobby/stop/job-1 lobby/start/job-1", answer.Record.Annotations[v1alpha1.AnnotationWish])
	d.unchanged(func() {
		again, err := d.Restart(t.Context(), restart)
		require.NoError(t, err)
		require.Equal(t, answer, again)
	})
}

func testForgotten(t *testing.T, d *desk) {
	d.start()
	for i := range remembered + 2 {
		wish := Restart{Wish: Wish{Game: "chess", Caller: master, ID: fmt.Sprint(i)}}
		_, err := d.Restart(t.Context(), wish)
		require.NoError(t, err)
	}
	kept := strings.Fields(d.record().Annotations[v1alpha1.AnnotationWish])
	require.Len(t, kept, remembered)
	require.Equal(t, "game-master/restart/9", kept[0])
	_, err := d.Stop(t.Context(), of(lobby))
	require.NoError(t, err)
	require.Equal(t, kept, strings.Fields(d.record().Annotations[v1alpha1.AnnotationWish]), "one without an id takes nothing away")
}

func testRevision(t *testing.T, d *desk) {
	wish := of(master)
	wish.Revision = d.start().Record.ResourceVersion
	d.byHand(`{"spec":{"workingDir":"/tmp"}}`)
	d.unchanged(func() {
		for _, verb := range []func() (Answer, error){
			func() (Answer, error) { return d.Start(t.Context(), Start{Wish: wish, Image: newer}) },
			func() (Answer, error) { return d.Stop(t.Context(), wish) },
			func() (Answer, error) { return d.CleanUp(t.Context(), wish) },
		} {
			_, err := verb()
			refusedWith(t, err, v1alpha1.CodeConflict, "revision")
			require.False(t, errorOf(t, err).Retryable)
		}
	})
	wish.Revision = d.record().ResourceVersion
	_, err := d.Stop(t.Context(), wish)
	require.NoError(t, err)
	wish.Revision = d.record().ResourceVersion
	_, err = d.CleanUp(t.Context(), wish)
	require.NoError(t, err)
}

func testForbidden(t *testing.T, d *desk) {
	stranger := d.server.Config()
	stranger.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: []string{"galaxy:strangers"}}
	_, err := New(client(t, stranger), "default").Stop(t.Context(), of(lobby))
	refusedWith(t, err, v1alpha1.CodeForbidden, "")
	require.False(t, errorOf(t, err).Retryable)
}

func testNoNamespace(t *testing.T, d *desk) {
	nowhere := newDesk(t, d.server, "nowhere")
	_, err := nowhere.Start(t.Context(), Start{Wish: of(lobby), Image: image})
	refusedWith(t, err, v1alpha1.CodeNotFound, "")
	e := errorOf(t, err)
	require.Contains(t, e.Message, `"nowhere"`)
}

func testNoTime(t *testing.T, d *desk) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Start(ctx, Start{Wish: of(lobby), Image: image})
	refusedWith(t, err, v1alpha1.CodeTimeout, "")
	require.True(t, errorOf(t, err).Retryable)
	require.ErrorIs(t, err, context.Canceled)
}
