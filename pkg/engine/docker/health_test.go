package docker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

func TestHealth(t *testing.T) {
	const twice = `{"Retries":2}`
	unhealthy := func(output string) *engine.Health {
		return &engine.Health{State: engine.HealthUnhealthy, Output: output}
	}
	cases := map[string]struct {
		state, check, told string
		want               *engine.Health
	}{
		"no check":             {"running", `null`, `null`, nil},
		"a check turned off":   {"running", `{"Test":["NONE"]}`, `{"Status":"none"}`, nil},
		"no verdict yet":       {"running", twice, `{"Status":"starting","FailingStreak":1}`, &engine.Health{State: engine.HealthStarting}},
		"healthy":              {"running", twice, `{"Status":"healthy","FailingStreak":1}`, &engine.Health{State: engine.HealthHealthy}},
		"just turned":          {"running", twice, fails(2, 2), unhealthy("check 2")},
		"a few checks later":   {"running", twice, fails(4, 4), unhealthy("check 2")},
		"forgotten since":      {"running", twice, fails(9, 5), unhealthy("check 5")},
		"three by default":     {"running", `{}`, fails(4, 4), unhealthy("check 3")},
		"nothing written":      {"running", twice, fails(2, 0), unhealthy("")},
		"as it was paused":     {"paused", twice, fails(2, 2), unhealthy("check 2")},
		"paused while healthy": {"paused", twice, fails(0, 5), &engine.Health{State: engine.HealthStarting}},
		"unpaused just now":    {"running", twice, fails(1, 5), &engine.Health{State: engine.HealthStarting}},
		"ended":                {"exited", twice, fails(2, 2), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			found, err := answer(t, says(200, `{"Id":"1","Name":"chess","State":{"Status":"`+c.state+`","Health":`+c.told+`},
				"Config":{"Healthcheck":`+c.check+`},"HostConfig":{},"NetworkSettings":{}}`)).Inspect(t.Context(), "1")
			require.NoError(t, err)
			require.Equal(t, c.want, found.Health)
		})
	}
}

// fails is a row of failing checks, of which the engine still knows a few.
func fails(row, known int) string {
	var log []string
	for n := row - known + 1; n <= row; n++ {
		log = append(log, fmt.Sprintf(`{"ExitCode":1,"Output":"check\n %d\n"}`, n))
	}
	return fmt.Sprintf(`{"Status":"unhealthy","FailingStreak":%d,"Log":[%s]}`, row, strings.Join(log, ","))
}
