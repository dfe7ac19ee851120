package app

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/go-logr/zapr"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Errors of the libraries that are none of the manager's are for debugging; the
// others stay what they are.
func TestErrorsOfLibraries(t *testing.T) {
	for name, c := range map[string]struct {
		level   zapcore.Level
		harmful bool
		lines   int
	}{
		"harmless":                {zap.InfoLevel, false, 0},
		"harmless, for debugging": {zap.DebugLevel, false, 3},
		"harmful":                 {zap.InfoLevel, true, 3},
	} {
		t.Run(name, func(t *testing.T) {
			core, lines := observer.New(c.level)
			log := zapr.NewLogger(zap.New(core))
			err, message := errors.New("leader election lost"), "Unable to authenticate the request"
			reconciling := fmt.Errorf("writing the report: %w", context.Canceled)
			if c.harmful {
				err, message, reconciling = errors.New("no disk"), "Unable to write", context.DeadlineExceeded
			}
			libraryLog(log).WithName("x").Error(err, "problem running the manager")
			libraryLog(log).Error(reconciling, "Reconciler error")
			kubernetesLog(log.V(1)).WithValues("key", "value").Error(errors.New("invalid bearer token"), message)
			require.Len(t, lines.All(), c.lines)
			for _, line := range lines.All() {
				require.Equal(t, c.harmful, line.Level == zap.ErrorLevel)
			}
		})
	}
}
