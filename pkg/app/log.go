package app

import (
	"fmt"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger returns the log that the configuration asks for, on standard error.
func NewLogger(c Config) (logr.Logger, error) {
	var zc zap.Config
	switch c.LogFormat {
	case "json":
		zc = zap.NewProductionConfig()
	case "console":
		zc = zap.NewDevelopmentConfig()
		zc.Development = false
		zc.EncoderConfig.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	default:
		return logr.Discard(), fmt.Errorf("--log-format: must be console or json, is %q", c.LogFormat)
	}
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return logr.Discard(), fmt.Errorf("--log-level: must be debug, info or error, is %q", c.LogLevel)
	}
	zc.Level = zap.NewAtomicLevelAt(level)
	zc.DisableCaller, zc.DisableStacktrace = true, true
	zc.Sampling = nil // one line a transition: none may be lost
	logger, err := zc.Build()
	if err != nil {
		return logr.Discard(), fmt.Errorf("building the log: %w", err)
	}
	return zapr.NewLogger(logger), nil
}
