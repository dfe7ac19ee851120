package apiserver

import (
	"context"
	"net/http"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// stats measures a game that runs.
func (c console) stats(req *http.Request, game types.NamespacedName) (runtime.Object, error) {
	ctx, cancel := context.WithTimeout(req.Context(), measureTimeout)
	defer cancel()
	container, err := c.running(ctx, game)
	if err != nil {
		return nil, err
	}
	select {
	case c.measurements <- struct{}{}:
		defer func() { <-c.measurements }()
	case <-ctx.Done():
		return nil, c.explain(&engine.Error{Op: "measure", Kind: engine.Timeout, Err: ctx.Err()}, game)
	}
	usage, err := c.Engine.Usage(ctx, container.ID)
	if err != nil {
		return nil, c.explain(err, game)
	}
	stats := toStats(container, usage)
	stats.Game = game.String()
	return stats, nil
}

func toStats(container engine.Container, usage engine.Usage) *v1alpha1.GameRuntimeStats {
	stats := &v1alpha1.GameRuntimeStats{
		Container: container.ID, At: metav1.NewMicroTime(usage.At), Window: metav1.Duration{Duration: usage.Window},
		Usage: v1alpha1.StatsUsage{
			CPU: *cores(usage.NanoCPUs), Memory: *resource.NewQuantity(usage.MemoryBytes, resource.BinarySI), Pids: usage.Pids,
		},
		Network: v1alpha1.StatsNetwork{Received: usage.ReceivedBytes, Sent: usage.SentBytes},
		Disk:    v1alpha1.StatsDisk{Read: usage.ReadBytes, Written: usage.WrittenBytes},
	}
	limits := container.Resources // none while a container is known from a list alone
	if limits.NanoCPUs > 0 {
		stats.Limits.CPU = cores(limits.NanoCPUs)
	}
	if limits.MemoryBytes > 0 {
		stats.Limits.Memory = resource.NewQuantity(limits.MemoryBytes, resource.BinarySI)
	}
	if limits.Pids > 0 {
		stats.Limits.Pids = &limits.Pids
	}
	return stats
}

// cores is a number of them, of which NewMilliQuantity would lose most.
func cores(nano int64) *resource.Quantity { return resource.NewScaledQuantity(nano, resource.Nano) }
