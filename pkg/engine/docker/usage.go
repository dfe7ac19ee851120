package docker

import (
	"strings"

	"github.com/docker/docker/api/types/container"

	"galaxy.io/runtime-manager/pkg/engine"
)

// toUsage is what a container used between two looks at it.
func toUsage(first, second container.StatsResponse) engine.Usage {
	usage := engine.Usage{
		At: second.Read, Window: second.Read.Sub(first.Read),
		MemoryBytes: workingSet(second.MemoryStats), Pids: int64(second.PidsStats.Current),
	}
	before, after := first.CPUStats.CPUUsage.TotalUsage, second.CPUStats.CPUUsage.TotalUsage
	if usage.Window > 0 && after > before { // one that was started anew in between begins at 0
		usage.NanoCPUs = int64(float64(after-before) / usage.Window.Seconds())
	}
	for _, network := range second.Networks {
		usage.ReceivedBytes += int64(network.RxBytes)
		usage.SentBytes += int64(network.TxBytes)
	}
	for _, device := range second.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(device.Op) { // Read on cgroup v1, read on v2
		case "read":
			usage.ReadBytes += int64(device.Value)
		case "write":
			usage.WrittenBytes += int64(device.Value)
		}
	}
	return usage
}

// workingSet is what docker stats shows: the memory in use without files that
// nobody looked at lately, which cgroup v1 and v2 name differently.
func workingSet(memory container.MemoryStats) int64 {
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if idle, there := memory.Stats[name]; there && idle < memory.Usage {
			return int64(memory.Usage - idle)
		}
	}
	return int64(memory.Usage)
}
