package v1alpha1

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTraceparentIsOfOneGeneration(t *testing.T) {
	record := &GameRuntime{}
	record.Generation = 7
	require.Empty(t, record.Traceparent())
	record.Annotations = map[string]string{AnnotationTrace: TraceOf(7, "00-a-b-01")}
	require.Equal(t, "00-a-b-01", record.Traceparent())
	record.Generation = 8 // somebody wrote whom nobody traces
	require.Empty(t, record.Traceparent())
}
