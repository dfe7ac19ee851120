package docker

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestUsageBetweenTwoLooks(t *testing.T) {
	began := time.Date(2026, 11, 25, 16, 0, 0, 0, time.UTC)
	look := func(at time.Duration, processor uint64) container.StatsResponse {
		return container.StatsResponse{Read: began.Add(at), CPUStats: container.CPUStats{CPUUsage: container.CPUUsage{TotalUsage: processor}}}
	}
	first, second := look(0, 1_000_000_000), look(200*time.Millisecond, 1_050_000_000)
	second.PidsStats.Current = 6
	second.MemoryStats = container.MemoryStats{Usage: 10 << 20, Stats: map[string]uint64{"inactive_file": 2 << 20}}
	second.Networks = map[string]container.NetworkStats{"eth0": {RxBytes: 1, TxBytes: 2}, "eth1": {RxBytes: 10, TxBytes: 20}}
	second.BlkioStats.IoServiceBytesRecursive = []container.BlkioStatEntry{
		{Op: "Read", Value: 1}, {Op: "Write", Value: 2}, {Op: "Total", Value: 3}, {Op: "read", Value: 10}, {Op: "write", Value: 20},
	}
	require.Equal(t, engine.Usage{
		At: second.Read, Window: 200 * time.Millisecond, NanoCPUs: 250_000_000, MemoryBytes: 8 << 20, Pids: 6,
		ReceivedBytes: 11, SentBytes: 22, ReadBytes: 11, WrittenBytes: 22,
	}, toUsage(first, second))
	require.Zero(t, toUsage(second, first).NanoCPUs, "it was started anew in between")
	require.Zero(t, toUsage(first, first).NanoCPUs, "no time passed")
}

func TestWorkingSet(t *testing.T) {
	for name, c := range map[string]struct {
		stats map[string]uint64
		want  int64
	}{
		"cgroup v1": {map[string]uint64{"total_inactive_file": 300, "inactive_file": 100}, 700},
		"cgroup v2": {map[string]uint64{"inactive_file": 100}, 900},
		"neither":   {nil, 1000},
		"nonsense":  {map[string]uint64{"inactive_file": 2000}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, workingSet(container.MemoryStats{Usage: 1000, Stats: c.stats}))
		})
	}
}
