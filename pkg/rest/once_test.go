package rest

import (
	"context"
	"net/http"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/journal"
)

// The same request gets the same answer, whatever happened since, also from
// another replica.
func testOnce(b *bench) {
	first := b.start("keyed", key("k-1")).is(b.t, http.StatusAccepted, "")
	require.Empty(b.t, first.header.Get("Idempotency-Replayed"))
	b.do("POST", "/runtimes/keyed/stop", by("admin"))
	for _, replica := range []*bench{b, b.replica(nil)} {
		again := replica.start("keyed", key("k-1"))
		require.Equal(b.t, first.status, again.status)
		require.Equal(b.t, first.body, again.body)
		require.Equal(b.t, first.header.Get("ETag"), again.header.Get("ETag"))
		require.Equal(b.t, "true", again.header.Get("Idempotency-Replayed"))
	}
	require.Equal(b.t, "Stopped", b.do("GET", "/runtimes/keyed").Runtime.State, "it was carried out once")
	b.start("keyed", key("k-1"), by("game-master")).is(b.t, http.StatusAccepted, "") // a key of its own
	require.Equal(b.t, "Running", b.do("GET", "/runtimes/keyed").Runtime.State)
}

func testOtherRequest(b *bench) {
	b.start("rekeyed", key("k-2"))
	other := b.do("POST", "/runtimes/rekeyed/start", body(`{"image":"`+newer+`"}`), key("k-2")).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
	other.says(b.t, "Idempotency-Key")
	require.Empty(b.t, other.header.Get("Retry-After"), "never")
	b.do("POST", "/runtimes/rekeyed/stop", key("k-2")).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
	b.do("DELETE", "/runtimes/rekeyed", key("k-2")).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
	b.do("POST", "/runtimes/nobody-else/start", startBody, key("k-2")).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
}

// Of two requests at one time one is carried out; the other may ask again.
func testTwoWithOneKey(b *bench) {
	first := b.later("POST", "/runtimes/doubled/start?wait=15s", startBody, key("k-3"))
	b.asks("doubled", declared)
	second := b.start("doubled", key("k-3")).is(b.t, http.StatusConflict, v1alpha1.CodeConflict)
	require.Equal(b.t, "1", second.header.Get("Retry-After"))
	b.tell("doubled", running)
	done := (<-first).is(b.t, http.StatusOK, "")
	require.Equal(b.t, done.body, b.start("doubled", key("k-3")).body)
}

// What was refused changed nothing, so that the key is free.
func testRefusalIsNotKept(b *bench) {
	b.do("POST", "/runtimes/refused/stop", key("k-4")).is(b.t, http.StatusNotFound, v1alpha1.CodeNotFound)
	b.do("POST", "/runtimes/refused/start", key("k-4")).is(b.t, http.StatusBadRequest, v1alpha1.CodeInvalidRequest)
	b.start("refused", key("k-4")).is(b.t, http.StatusAccepted, "")
}

// A restart whose outcome is not known yet is waited for again, and made once.
func testNoOutcomeIsNotKept(b *bench) {
	b.start("slow")
	b.tell("slow", running)
	restart := func(wait string) answered { return b.do("POST", "/runtimes/slow/restart?wait="+wait, key("k-5")) }
	first := restart("10ms").is(b.t, http.StatusGatewayTimeout, v1alpha1.CodeTimeout)
	again := restart("10ms").is(b.t, http.StatusGatewayTimeout, v1alpha1.CodeTimeout)
	require.Equal(b.t, first.Runtime.Generation, again.Runtime.Generation, "one restart")
	b.tell("slow", running)
	done := restart("15s").is(b.t, http.StatusOK, "")
	require.Equal(b.t, first.Runtime.Generation, done.Runtime.Generation)
	require.Equal(b.t, "true", restart("1ms").header.Get("Idempotency-Replayed"))
}

// A manager that crashed holds a key only for a time.
func testClaimRanOut(b *bench) {
	ctx := context.Background()
	asked := journal.Asked{Caller: "lobby", Key: "k-6", Digest: []byte("of a request")}
	claim, kept, err := b.answers.Claim(ctx, asked, 0)
	require.NoError(b.t, err)
	require.Nil(b.t, kept)
	first := b.start("crashed", key("k-6")).is(b.t, http.StatusAccepted, "")
	require.NoError(b.t, claim.Keep(ctx, journal.Kept{Status: http.StatusTeapot}), "it comes too late")
	require.NoError(b.t, claim.GiveUp(ctx))
	require.Equal(b.t, first.body, b.start("crashed", key("k-6")).body)
}
