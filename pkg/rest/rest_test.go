package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
)

// parts are those of TestAPI. Each has games of its own; docs/services.md names them.
var parts = map[string]func(*bench){
	"a start declares a game":    testStart,
	"a start with a spec":        testStartSpec,
	"a stop":                     testStop,
	"a restart":                  testRestart,
	"a patch":                    testPatch,
	"a clean-up":                 testCleanUp,
	"a list":                     testList,
	"a game without a record":    testNoRecord,
	"who asks":                   testCaller,
	"who proves who asks":        testProof,
	"who may":                    testPermission,
	"pages of the Web":           testPages,
	"slow callers":               testSlowCallers,
	"another revision":           testRevision,
	"bad requests":               testBadRequests,
	"no such call":               testNoSuchCall,
	"an id for the log":          testRequestID,
	"what a game looks like":     testView,
	"the contract":               testDocument,
	"a wish that comes true":     testWait,
	"a wish that fails":          testWaitFails,
	"a wish that takes too long": testWaitOver,
	"a wish overtaken":           testWaitOvertaken,
	"a game that goes meanwhile": testWaitGone,
	"many who wait":              testManyWait,
	"a caller who goes":          testCallerGoes,
	"the same request again":     testOnce,
	"the key of another request": testOtherRequest,
	"two with one key":           testTwoWithOneKey,
	"a key and a refusal":        testRefusalIsNotKept,
	"a key and no outcome yet":   testNoOutcomeIsNotKept,
	"a claim that ran out":       testClaimRanOut,
	"too many who wait":          testTooManyWait,
	"answers out of reach":       testAnswersOutOfReach,
	"records out of reach":       testRecordsOutOfReach,
	"a stop while some wait":     testStopWhileSomebodyWaits,
	"a namespace that ends":      testNamespaceEnds,
	"an error of ours":           testPanic,
}

// TestAPI runs everything on one API server.
func TestAPI(t *testing.T) {
	b := newBench(t)
	b.beginOutOfReach()
	for name, run := range parts {
		t.Run(name, func(t *testing.T) { run(b.in(t)) })
	}
	promise.reached(t)
}

func testStart(b *bench) {
	got := b.start("started").is(b.t, http.StatusAccepted, "")
	require.Equal(b.t, command.Success, got.Result.Outcome)
	require.Equal(b.t, "started", got.Runtime.GameID)
	require.Equal(b.t, "Running", got.Runtime.State)
	require.Equal(b.t, image, got.Runtime.Image)
	require.Equal(b.t, etag(got.Runtime.Revision), got.header.Get("ETag"))

	again := b.start("started").is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
	require.Equal(b.t, got.Runtime.Revision, again.Runtime.Revision)

	read := b.do("GET", "/runtimes/started").is(b.t, http.StatusOK, "")
	require.Equal(b.t, got.Runtime, read.Runtime)
	require.Equal(b.t, got.header.Get("ETag"), read.header.Get("ETag"))
	b.do("GET", "/runtimes/started", with("If-None-Match", `"1", W/`+read.header.Get("ETag"))).is(b.t, http.StatusNotModified, "")
	b.do("GET", "/runtimes/started", with("If-None-Match", `"1"`)).is(b.t, http.StatusOK, "")
}

func testStartSpec(b *bench) {
	start := func(spec string) answered {
		return b.do("POST", "/runtimes/specified/start", body(`{"image":"`+image+`","spec":`+spec+`}`))
	}
	start(`{"env":[{"name":"SEED","value":"7"}]}`).is(b.t, http.StatusAccepted, "")
	stored, err := b.records().Get(context.Background(), "specified", metav1.GetOptions{})
	require.NoError(b.t, err)
	env, err := json.Marshal(stored.Object["spec"].(map[string]any)["env"])
	require.NoError(b.t, err)
	require.JSONEq(b.t, `[{"name":"SEED","value":"7"}]`, string(env))

	start(`{"resources":{"pids":0}}`).is(b.t, http.StatusUnprocessableEntity, v1alpha1.CodeStartConfigInvalid).says(b.t, "spec.resources.pids")
	start(`{"privileged":true}`).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "spec.privileged")
	start(`null`).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "spec")
	start(`{"state":"Stopped"}`).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "spec.state")
}

func testStop(b *bench) {
	b.start("stopped")
	got := b.do("POST", "/runtimes/stopped/stop").is(b.t, http.StatusAccepted, "")
	require.Equal(b.t, "Stopped", got.Runtime.State)
	b.do("POST", "/runtimes/stopped/stop", body("{}")).is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
}

func testRestart(b *bench) {
	first := b.start("restarted")
	second := b.do("POST", "/runtimes/restarted/restart").is(b.t, http.StatusAccepted, "")
	third := b.do("POST", "/runtimes/restarted/restart").is(b.t, http.StatusAccepted, "")
	require.Equal(b.t, first.Runtime.Generation+2, third.Runtime.Generation, "each is one of its own")
	require.NotEqual(b.t, second.Runtime.Revision, third.Runtime.Revision)

	b.do("POST", "/runtimes/restarted/stop")
	b.do("POST", "/runtimes/restarted/restart").is(b.t, http.StatusConflict, v1alpha1.CodeConflict).says(b.t, "stopped")
}

func testPatch(b *bench) {
	b.start("patched")
	patch := func(image string) answered {
		return b.do("POST", "/runtimes/patched/patch", body(`{"image":"`+image+`"}`))
	}
	got := patch(newer).is(b.t, http.StatusAccepted, "")
	require.Equal(b.t, newer, got.Runtime.Image)
	patch(newer).is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
	patch("galaxy/demo-game:2.0.0").is(b.t, http.StatusConflict, v1alpha1.CodeSemverPatchOnly)
	patch("galaxy/demo-game:latest").is(b.t, http.StatusBadRequest, v1alpha1.CodeImageRefNotSemver)
	patch("Not An Image").is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "image")
	patch("").is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "image")
	b.do("POST", "/runtimes/patched/patch").is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "image")
}

func testCleanUp(b *bench) {
	b.start("cleaned")
	b.do("DELETE", "/runtimes/cleaned").is(b.t, http.StatusAccepted, "")
	b.do("GET", "/runtimes/cleaned").is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.do("DELETE", "/runtimes/cleaned").is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
}

// All pages show the games as they were at the first one.
func testList(b *bench) {
	for i := range 5 {
		b.start(fmt.Sprintf("listed-%d", i))
	}
	var names []string
	path, later := "/runtimes?limit=2", false
	for pages := 0; ; pages++ {
		require.Less(b.t, pages, 100)
		page := b.do("GET", path).is(b.t, http.StatusOK, "")
		for _, g := range page.list.Runtimes {
			if strings.HasPrefix(g.GameID, "listed-") {
				names = append(names, g.GameID)
			}
		}
		if !later {
			later = true
			b.start("listed-9")
		}
		if page.list.Continue == "" {
			require.Zero(b.t, page.list.Remaining)
			break
		}
		require.Len(b.t, page.list.Runtimes, 2)
		path = "/runtimes?limit=2&continue=" + page.list.Continue
	}
	require.Equal(b.t, []string{"listed-0", "listed-1", "listed-2", "listed-3", "listed-4"}, names)
	for _, query := range []string{"limit=0", "limit=501", "limit=x", "limit=", "continue=garbage", "limit=1&limit=2", "page=2", "limit=%zz"} {
		b.do("GET", "/runtimes?"+query).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest)
	}
}

func testNoRecord(b *bench) {
	b.do("GET", "/runtimes/nobody").is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	for _, verb := range []string{"stop", "restart"} {
		b.do("POST", "/runtimes/nobody/"+verb).is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	}
	b.do("POST", "/runtimes/nobody/patch", body(`{"image":"`+newer+`"}`)).is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.do("DELETE", "/runtimes/nobody").is(b.t, http.StatusOK, v1alpha1.CodeReplayNoOp)
	b.do("POST", "/runtimes/nobody/start").is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "image")
}

// Who asks for a change is in the record.
func testCaller(b *bench) {
	b.start("called", by("")).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "X-Galaxy-Caller")
	b.start("called", by("The Lobby")).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "X-Galaxy-Caller")
	b.start("called", by("game-master"))
	record, err := b.records().Get(context.Background(), "called", metav1.GetOptions{})
	require.NoError(b.t, err)
	require.Equal(b.t, "galaxy-game-master", record.GetManagedFields()[0].Manager)
	b.do("GET", "/runtimes/called", by("")).is(b.t, http.StatusOK, "")
}

func testRevision(b *bench) {
	first := b.start("revised").header.Get("ETag")
	b.do("POST", "/runtimes/revised/stop", with("If-Match", first)).is(b.t, http.StatusAccepted, "")
	b.do("POST", "/runtimes/revised/restart", with("If-Match", first)).is(b.t, http.StatusConflict, v1alpha1.CodeConflict).says(b.t, "If-Match")
	b.do("DELETE", "/runtimes/revised", with("If-Match", first)).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
	b.start("unheard-of", with("If-Match", first)).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
	for _, wrong := range []string{"*", `"a"`, `W/"1"`, `"1", "2"`, "1"} {
		b.do("POST", "/runtimes/revised/stop", with("If-Match", wrong)).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "If-Match")
	}
}

func testBadRequests(b *bench) {
	large := `{"image":"` + strings.Repeat("x", maxBody) + `"}`
	for name, c := range map[string]struct {
		path    string
		options []option
		says    string
	}{
		"a field nobody knows":      {"/start", []option{body(`{"image":"a:1.0.0","colour":"red"}`)}, `colour: unknown field "colour"`},
		"a field twice":             {"/start", []option{body(`{"image":"a:1.0.0","image":"b:1.0.0"}`)}, `duplicate field "image"`},
		"a field in capitals":       {"/start", []option{body(`{"Image":"a:1.0.0"}`)}, "Image"},
		"a field of another call":   {"/stop", []option{body(`{"image":"a:1.0.0"}`)}, "image"},
		"a field of a start":        {"/patch", []option{body(`{"image":"a:1.0.0","spec":{}}`)}, "spec"},
		"no JSON":                   {"/start", []option{body(`image: a`)}, "body"},
		"half of a body":            {"/start", []option{body(`{"image":"a:1.0.0"`)}, "body"},
		"two bodies":                {"/start", []option{body(`{"image":"a:1.0.0"}{}`)}, "body"},
		"a list":                    {"/start", []option{body(`[]`)}, "must be a JSON object"},
		"nothing, in JSON":          {"/stop", []option{body(`null`)}, "must be a JSON object"},
		"a number for an image":     {"/start", []option{body(`{"image":1}`)}, "image"},
		"a body too large":          {"/start", []option{body(large)}, "65536 bytes"},
		"a body of another kind":    {"/start", []option{body(`{}`), with("Content-Type", "text/plain")}, "Content-Type"},
		"a key that is no text":     {"/stop", []option{key("\xae")}, "Idempotency-Key"},
		"a wait that is none":       {"/stop?wait=soon", nil, "wait"},
		"a wait without a unit":     {"/stop?wait=30", nil, "wait"},
		"a wait too long":           {"/stop?wait=301s", nil, "wait"},
		"a wait of less than none":  {"/stop?wait=-1s", nil, "wait"},
		"a parameter misspelt":      {"/stop?wiat=30s", nil, "wiat"},
		"a key with a blank":        {"/stop", []option{key("a b")}, "Idempotency-Key"},
		"a key too long":            {"/stop", []option{key(strings.Repeat("k", 129))}, "Idempotency-Key"},
		"a key in another alphabet": {"/stop", []option{key("ключ")}, "Idempotency-Key"},
	} {
		got := b.do("POST", "/runtimes/bad"+c.path, c.options...)
		require.Equal(b.t, http.StatusBadRequest, got.status, name)
		got.is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, c.says)
	}
	b.do("DELETE", "/runtimes/bad", body("{}")).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "body")
	for _, name := range []string{"Chess", "a.b", "a%2Fb", "-a", strings.Repeat("x", 64), "%00", "%ff"} {
		b.do("GET", "/runtimes/"+name).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "game_id")
		b.do("POST", "/runtimes/"+name+"/stop").is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest).says(b.t, "game_id")
	}
}

// What is no call of ours is answered in the same shape.
func testNoSuchCall(b *bench) {
	for _, path := range []string{"/runtimes/", "/runtimes//start", "/runtimes/chess/fly", "/runtimes/chess/start/now", "/", "/runtimes/../runtimes"} {
		b.do("GET", path).is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	}
	got := b.do("PUT", "/runtimes/chess").is(b.t, http.StatusMethodNotAllowed, v1alpha1.CodeInvalidRequest)
	require.Equal(b.t, "DELETE, GET", got.header.Get("Allow"))
	got = b.do("GET", "/runtimes/chess/start").is(b.t, http.StatusMethodNotAllowed, v1alpha1.CodeInvalidRequest).says(b.t, "POST")
	require.Equal(b.t, "POST", got.header.Get("Allow"))
}

func testRequestID(b *bench) {
	require.Equal(b.t, "turn-7", b.do("GET", "/runtimes", with(headerRequestID, "turn-7")).header.Get(headerRequestID))
	for _, wrong := range []string{"", "two words", strings.Repeat("x", 65)} {
		made := b.do("GET", "/runtimes", with(headerRequestID, wrong)).header.Get(headerRequestID)
		require.NotEqual(b.t, wrong, made)
		require.Len(b.t, made, 36)
	}
}

// What services see has all that they need, and no environment of a game.
func testView(b *bench) {
	b.do("POST", "/runtimes/viewed/start", body(`{"image":"`+image+`","spec":{"env":[{"name":"TOKEN","value":"hunter2"}]}}`))
	b.tell("viewed", running)
	b.tell("viewed", stopped)
	b.tell("viewed", waiting(v1alpha1.ReasonBackOff, "waiting to start it again", 2))
	b.tell("viewed", func(g *v1alpha1.GameRuntime) {
		g.Status.LastOperation = &v1alpha1.Operation{ID: "op-1", Action: v1alpha1.ActionStart, By: "galaxy-lobby", Outcome: v1alpha1.OperationFailed,
			Code: v1alpha1.CodeContainerStartFailed, Message: "exec /srv/secret", At: metav1.Now()}
	})
	got := b.do("GET", "/runtimes/viewed").is(b.t, http.StatusOK, "")
	require.NotContains(b.t, string(got.body), "hunter2")
	require.Equal(b.t, "StoppedByUs", got.Runtime.LastTermination.Reason)
	require.NotNil(b.t, got.Runtime.LastTermination.FinishedAt)
	require.Equal(b.t, int32(2), got.Runtime.Pending.Failures)
	require.Equal(b.t, "EngineReachable", got.Runtime.Conditions[0].Type)
	require.Equal(b.t, "galaxy-lobby", got.Runtime.LastOperation.By)
	require.Equal(b.t, "stopped", got.Runtime.ContainerState)
	require.Equal(b.t, int64(1), got.Runtime.ObservedGeneration)
}

func testDocument(b *bench) {
	got := b.do("GET", "/openapi.yaml")
	require.Equal(b.t, http.StatusOK, got.status)
	require.Equal(b.t, string(contract), string(got.body))
	got = b.do("GET", "/openapi.json")
	require.Equal(b.t, http.StatusOK, got.status)
	var document struct{ OpenAPI string }
	require.NoError(b.t, json.Unmarshal(got.body, &document))
	require.Equal(b.t, "3.1.0", document.OpenAPI)
}
