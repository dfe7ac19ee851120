package docker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBootTime(t *testing.T) {
	require.Equal(t, time.Unix(1790000000, 0).UTC(), bootTime("cpu  1 2 3\nbtime 1790000000\nprocesses 7\n"))
	require.Zero(t, bootTime("cpu  1 2 3\n"))
	require.Zero(t, bootTime("btime soon\n"))
}

func TestOnlyAnEngineOfThisHostTellsWhenItBooted(t *testing.T) {
	booted := bootedAt("unix:///var/run/docker.sock")
	require.True(t, !booted.IsZero() && booted.Before(time.Now()), "%s", booted)
	require.Zero(t, bootedAt("tcp://10.0.0.1:2375"))
}
