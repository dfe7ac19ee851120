package app

import (
	"fmt"

	"github.com/spf13/pflag"

	"galaxy.io/runtime-manager/pkg/tracing"
)

func (c *Config) tracingFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.OTLPEndpoint, "otlp-endpoint", c.OTLPEndpoint, "where OpenTelemetry traces are sent by gRPC: https:// URL, or http:// URL or host:port without TLS; none are made if empty")
	flags.Float64Var(&c.TraceSampleRatio, "trace-sample-ratio", c.TraceSampleRatio, "share of the traces, 0 to 1, that is kept of those that begin here; one that a caller began is kept if the caller keeps it")
}

func (c Config) checkTracing() error {
	if c.OTLPEndpoint != "" {
		if _, err := tracing.ParseEndpoint(c.OTLPEndpoint); err != nil {
			return fmt.Errorf("--otlp-endpoint: %w", err)
		}
	}
	if !(c.TraceSampleRatio >= 0 && c.TraceSampleRatio <= 1) { // nor NaN
		return fmt.Errorf("--trace-sample-ratio: must be from 0 to 1, is %g", c.TraceSampleRatio)
	}
	return nil
}

func (a *App) openTraces() (*tracing.Traces, error) {
	traces, err := tracing.Open(tracing.Options{
		Endpoint: a.config.OTLPEndpoint, Ratio: a.config.TraceSampleRatio,
		Version: a.config.Version, Instance: a.dir.identity, Log: a.log.WithName("traces"),
	})
	if err != nil {
		return nil, fmt.Errorf("--otlp-endpoint: %w", err)
	}
	if traces != nil {
		a.log.Info("sending traces", "endpoint", a.config.OTLPEndpoint, "ratio", a.config.TraceSampleRatio)
	}
	return traces, nil
}
