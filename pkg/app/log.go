package app

import (
	"context"
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
	klog.SetLogger(kubernetes)
	utilruntime.ErrorHandlers = []utilruntime.ErrorHandler{
		func(_ context.Context, err error, message string, keysAndValues ...any) {
			kubernetes.Info(message, append(keysAndValues, "error", err)...)
		},
	}
}

// libraryLog is where controller-runtime says what it does: for debugging, but
// for its errors.
func libraryLog(log logr.Logger) logr.Logger {
	if log.GetSink() == nil { // it is discarded
		return log
	}
	return logr.New(libraryErrors{log.GetSink()}).V(1)
}

// libraryErrors knows an error that is none: whoever hands the lead back at the
// end has lost it.
type libraryErrors struct{ logr.LogSink }

func (l libraryErrors) Error(err error, message string, keysAndValues ...any) {
	if err != nil && err.Error() == "leader election lost" {
		l.Info(1, message, append(keysAndValues, "reason", err.Error())...)
		return
	}
	l.LogSink.Error(err, message, keysAndValues...)
}

func (l libraryErrors) WithName(name string) logr.LogSink {
	return libraryErrors{l.LogSink.WithName(name)}
}

func (l libraryErrors) WithValues(keysAndValues ...any) logr.LogSink {
	return libraryErrors{l.LogSink.WithValues(keysAndValues...)}
}
