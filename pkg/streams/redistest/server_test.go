package redistest

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Tests that kill a Redis rest on what it keeps, and on what it does not.
func TestWhatAServerKeeps(t *testing.T) {
	s := StartServer(t)
	client := s.Client(t)
	set := func(value string) { require.NoError(t, client.Set(t.Context(), "key", value, 0).Err()) }
	get := func() string {
		value, err := client.Get(t.Context(), "key").Result()
		if !errors.Is(err, redis.Nil) {
			require.NoError(t, err)
		}
		return value
	}

	set("first")
	before := s.Snapshot(t)
	set("second")
	for name, end := range map[string]func(testing.TB){"killed": s.Kill, "stopped": s.Stop} {
		end(t)
		require.Error(t, s.Client(t).Ping(t.Context()).Err(), name)
		s.Start(t)
		require.NoError(t, s.Client(t).Ping(t.Context()).Err(), name)
		client = s.Client(t)
		require.Equal(t, "second", get(), name)
	}

	s.Replace(t, before)
	client = s.Client(t)
	require.Equal(t, "first", get(), "of an older snapshot")
	s.Flush(t)
	require.Empty(t, get())
}
