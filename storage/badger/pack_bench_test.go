package badger

import (
	"testing"
)

// BenchmarkPack turns journals of 50,000 finished deliveries into databases.
func BenchmarkPack(b *testing.B) {
	const n = 50_000
	for b.Loop() {
		b.StopTimer()
		o := benchHistory(b, b.TempDir(), n, false)
		s := o.active.Load()
		o.packing.Store(s) // the housekeeper leaves it alone
		s.mu.Lock()
		s.sealed = true
		s.mu.Unlock()
		o.hurry.Store(true)
		start := processorTime()
		b.StartTimer()
		if err := o.pack(s); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		used := processorTime() - start
		b.ReportMetric(float64(used.Nanoseconds())/1000/n, "cpu-µs/delivery")
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
