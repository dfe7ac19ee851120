package docker

import (
	"cmp"

	"github.com/docker/docker/api/types/container"

	"galaxy.io/runtime-manager/pkg/engine"
)

// defaultRetries is how many checks must fail where an image does not say.
const defaultRetries = 3

// health is the verdict of the image's HEALTHCHECK on a container that runs.
//
// An engine calls a container unhealthy, too, whose checks it paused with the
// container, until the next one has run. Only a row of failures is a verdict.
func health(found container.InspectResponse) *engine.Health {
	told := found.State.Health
	if told == nil || told.Status == container.NoHealthcheck || told.Status == "" {
		return nil
	}
	switch told.Status {
	case container.Healthy:
		return &engine.Health{State: engine.HealthHealthy}
	case container.Unhealthy:
		if later := told.FailingStreak - retries(found.Config); later >= 0 {
			return &engine.Health{State: engine.HealthUnhealthy, Output: checkOutput(told.Log, later)}
		}
	}
	return &engine.Health{State: engine.HealthStarting}
}

func retries(config *container.Config) int {
	if config.Healthcheck == nil {
		return defaultRetries
	}
	return cmp.Or(config.Healthcheck.Retries, defaultRetries)
}

// checkOutput is what the check wrote that is so many before the last one, or
// the oldest that the engine still knows.
func checkOutput(log []*container.HealthcheckResult, before int) string {
	if len(log) == 0 {
		return ""
	}
	return engine.Line([]byte(tidy(log[max(0, len(log)-1-before)].Output)))
}
