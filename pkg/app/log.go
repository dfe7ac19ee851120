package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
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

// LogLibraries sends what the libraries log to our log. What Kubernetes' say, and
// what they call unhandled, such as a client that goes away in the middle of its
// watch, is for debugging here.
func LogLibraries(log logr.Logger) {
	ctrl.SetLogger(libraryLog(log))
	kubernetes := log.WithName("kubernetes").V(1)
	klog.SetLogger(kubernetesLog(kubernetes))
	utilruntime.ErrorHandlers = []utilruntime.ErrorHandler{
		func(_ context.Context, err error, message string, keysAndValues ...any) {
			kubernetes.Info(message, append(keysAndValues, "error", err)...)
		},
	}
}

// kubernetesLog is a log without lines that a stranger could fill it with.
func kubernetesLog(log logr.Logger) logr.Logger {
	if log.GetSink() == nil { // it is discarded
		return log
	}
	return logr.New(demoted{log.GetSink(), func(_ error, message string) bool {
		return message == "Unable to authenticate the request"
	}}).V(log.GetV())
}

// libraryLog is where controller-runtime says what it does: for debugging, but
// for its errors.
func libraryLog(log logr.Logger) logr.Logger {
	if log.GetSink() == nil { // it is discarded
		return log
	}
	// Whoever hands the lead back at the end has lost it, and what was in hand then
	// is cut short.
	return logr.New(demoted{log.GetSink(), func(err error, _ string) bool {
		return errors.Is(err, context.Canceled) || err != nil && err.Error() == "leader election lost"
	}}).V(1)
}

// demoted is a log with errors that are none to us: they are for debugging.
type demoted struct {
	logr.LogSink
	harmless func(err error, message string) bool
}

func (d demoted) Error(err error, message string, keysAndValues ...any) {
	if !d.harmless(err, message) {
		d.LogSink.Error(err, message, keysAndValues...)
		return
	}
	if d.Enabled(1) {
		d.Info(1, message, append(keysAndValues, "error", err)...)
	}
}

func (d demoted) WithName(name string) logr.LogSink {
	return demoted{d.LogSink.WithName(name), d.harmless}
}

func (d demoted) WithValues(keysAndValues ...any) logr.LogSink {
	return demoted{d.LogSink.WithValues(keysAndValues...), d.harmless}
}
