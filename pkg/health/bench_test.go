package health

import (
	"testing"
	"time"
)

// BenchmarkOf is what a status costs that was written.
func BenchmarkOf(b *testing.B) {
	record := full()
	b.ReportAllocs()
	for b.Loop() {
		_ = Of(record)
	}
}

func BenchmarkSnapshotOf(b *testing.B) {
	record := full()
	b.ReportAllocs()
	for b.Loop() {
		_ = SnapshotOf(record, time.Now()).JSON()
	}
}
