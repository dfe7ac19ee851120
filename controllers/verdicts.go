package controllers

import (
	"context"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
	"galaxy.io/runtime-manager/pkg/probe"
)

// quietWithin is how long a stop waits for the end of a program that a probe runs:
// the engine cannot end one, and a game that stops beside it may lose what it
// writes.
const quietWithin = 10 * time.Second

// probe keeps the prober on the running container and returns its verdicts. It
// says nothing while the engine has not told which run that is in, nor while a
// stop is in hand, during which nothing is probed: the record's verdicts stand.
func (r *GameRuntimeReconciler) probe(record *v1alpha1.GameRuntime, view engine.View) []v1alpha1.ProbeStatus {
	name := client.ObjectKeyFromObject(record)
	i := slices.IndexFunc(view.Containers, func(c engine.Container) bool { return c.State == engine.StateRunning })
	if i < 0 || r.work.stopping(plan.GameOf(record)) {
		r.prober.Forget(name)
		return nil
	}
	c := view.Containers[i]
	if !c.Inspected {
		return nil
	}
	instance := instanceOf(c)
	target := probe.Target{
		Game: name, Instance: instance, Container: c.ID, Address: c.IP, StartedAt: c.StartedAt, Probes: record.Spec.Probes,
	}
	r.prober.Watch(target, verdictsToKeep(record, c))
	return r.prober.Results(name, instance)
}

// instanceOf names one run of a container.
func instanceOf(c engine.Container) string {
	return c.ID + "@" + c.StartedAt.UTC().Format(time.RFC3339Nano)
}

// verdictsToKeep are the recorded ones on this run of the container, which a
// prober that knows nothing of it begins with. A failure is none where the record
// was edited since: that may have mended the probe.
func verdictsToKeep(record *v1alpha1.GameRuntime, c engine.Container) []v1alpha1.ProbeStatus {
	known := record.Status.Container
	if known == nil || known.ID != c.ID || known.State != v1alpha1.ContainerRunning {
		return nil
	}
	if known.StartedAt == nil || !known.StartedAt.Time.Equal(c.StartedAt.Truncate(time.Microsecond)) {
		return nil
	}
	edited := record.Status.ObservedGeneration != record.Generation
	return slices.DeleteFunc(slices.Clone(record.Status.Health), func(v v1alpha1.ProbeStatus) bool {
		return edited && v.Verdict == v1alpha1.VerdictFailing
	})
}

// programsOn runs programs for the prober.
func programsOn(e engine.Engine) probe.Exec {
	return func(ctx context.Context, container string, command []string) (int32, string, error) {
		result, err := e.Exec(ctx, container, command)
		return result.Code, result.Output, err
	}
}

// quiesce ends the probing of a game before a stop of it begins, its preStop
// included.
func (r *GameRuntimeReconciler) quiesce(ctx context.Context, record *v1alpha1.GameRuntime) {
	ctx, cancel := context.WithTimeout(ctx, quietWithin)
	defer cancel()
	r.prober.Quiesce(ctx, client.ObjectKeyFromObject(record))
}
