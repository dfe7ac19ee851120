package tracing

import (
	"context"
	"errors"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func TestTroubleOfTheCollectorIsToldOnce(t *testing.T) {
	var lines []string
	log := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	away := errors.New("away")
	exporter := &calmExporter{SpanExporter: failing{&away}, endpoint: "collector:4317", log: log}
	for range 3 {
		require.NoError(t, exporter.ExportSpans(t.Context(), nil))
	}
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], "away")
	away = nil
	for range 2 {
		require.NoError(t, exporter.ExportSpans(t.Context(), nil))
	}
	require.Len(t, lines, 2)
	require.Contains(t, lines[1], "delivered again")
}

type failing struct{ err *error }

func (f failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return *f.err }
func (failing) Shutdown(context.Context) error                               { return nil }
