package plan

import (
	"testing"

	"galaxy.io/runtime-manager/pkg/engine"
)

// BenchmarkInSync is what it costs to find that a game is as it should be.
func BenchmarkInSync(b *testing.B) {
	in := newScene().container("c-1", engine.StateRunning).reported().in
	b.ReportAllocs()
	for b.Loop() {
		if p := For(in); !p.InSync() {
			b.Fatal(p)
		}
		Status(in, Plan{})
	}
}
