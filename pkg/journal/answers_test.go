package journal

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

var askedOnceOnly = Asked{Caller: "lobby", Key: "turn-17", Digest: []byte("start chess")}

// Of many that come at one time one is carried out, and all others wait for it.
func TestOneClaimsARequest(t *testing.T) {
	answers := NewAnswers(postgrestest.Schema(t))
	var mu sync.Mutex
	var claims []*Turn
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			claim, kept, err := answers.Claim(t.Context(), askedOnceOnly, time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if claims = append(claims, claim); claim == nil && (kept != nil || !errors.Is(err, ErrInHand)) {
				t.Errorf("%v, %v", kept, err)
			}
		})
	}
	group.Wait()
	var one *Turn
	for _, claim := range claims {
		if claim != nil {
			require.Nil(t, one)
			one = claim
		}
	}
	require.NotNil(t, one)

	want := Kept{Status: 200, ETag: `"7"`, Body: []byte("{}\n")}
	require.NoError(t, one.Keep(t.Context(), want))
	claim, kept, err := answers.Claim(t.Context(), askedOnceOnly, time.Minute)
	require.NoError(t, err)
	require.Nil(t, claim)
	require.Equal(t, want, *kept)
	other := askedOnceOnly
	other.Digest = []byte("stop chess")
	_, _, err = answers.Claim(t.Context(), other, time.Minute)
	require.ErrorIs(t, err, ErrOtherRequest)
}

// Answers go when nobody may come back for them; what was given up is free at once.
func TestOldAnswersAreForgotten(t *testing.T) {
	pool := postgrestest.Schema(t)
	answers := NewAnswers(pool)
	for _, key := range []string{"old", "young"} {
		claim, _, err := answers.Claim(t.Context(), Asked{Caller: "lobby", Key: key, Digest: []byte("anything")}, time.Minute)
		require.NoError(t, err)
		require.NoError(t, claim.Keep(t.Context(), Kept{Status: 200}))
	}
	given, _, err := answers.Claim(t.Context(), askedOnceOnly, time.Minute)
	require.NoError(t, err)
	require.NoError(t, given.GiveUp(t.Context()))
	_, err = pool.Exec(t.Context(), "UPDATE answers SET expires_at = now() - interval '1 second' WHERE key = 'old'")
	require.NoError(t, err)

	require.NoError(t, answers.Forget(t.Context()))
	var left []string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT array_agg(key) FROM answers").Scan(&left))
	require.Equal(t, []string{"young"}, left)
}
