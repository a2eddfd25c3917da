package badger

import (
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

// BenchmarkSettle settles in batches of a hundred what was accepted before,
// without counting the acceptance.
func BenchmarkSettle(b *testing.B) {
	o := benchOutbox(b)
	b.ReportAllocs()
	settlements := make([]storage.Settlement, 100)
	n := int64(0)
	for b.Loop() {
		b.StopTimer()
		batch := make([]storage.NewEvent, len(settlements))
		for i := range batch {
			n++
			batch[i] = benchEvent(n, "acme")[0]
		}
		accepted, err := o.Accept(b.Context(), batch)
		if err != nil {
			b.Fatal(err)
		}
		for i, a := range accepted {
			settlements[i] = storage.Settlement{
				Delivery: a.Key.Delivery(0), Attempt: &benchAttempt, Status: storage.StatusDelivered, Code: "ok",
			}
		}
		b.StartTimer()
		if err := o.Settle(b.Context(), settlements); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/delivery")
}
