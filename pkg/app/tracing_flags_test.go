package app

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBadTraceFlags(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no port":      {func(c *Config) { c.OTLPEndpoint = "collector" }, "--otlp-endpoint: must name host and port"},
		"another kind": {func(c *Config) { c.OTLPEndpoint = "udp://collector:4317" }, "--otlp-endpoint: must begin with http:// or https://"},
		"HTTP's path":  {func(c *Config) { c.OTLPEndpoint = "http://collector:4318/v1/traces" }, "--otlp-endpoint: must have nothing but host and port"},
		"too many":     {func(c *Config) { c.TraceSampleRatio = 100 }, "--trace-sample-ratio: must be from 0 to 1, is 100"},
		"negative":     {func(c *Config) { c.TraceSampleRatio = -1 }, "--trace-sample-ratio: must be from 0 to 1"},
		"no number":    {func(c *Config) { c.TraceSampleRatio = math.NaN() }, "--trace-sample-ratio: must be from 0 to 1"},
	} {
		config := DefaultConfig()
		config.DataDir = t.TempDir()
		c.change(&config)
		_, err := config.complete()
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "\n", name)
	}
	config := DefaultConfig()
	config.DataDir, config.OTLPEndpoint = t.TempDir(), "https://collector.example.com:4317"
	_, err := config.complete()
	require.NoError(t, err)
}
