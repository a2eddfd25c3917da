package badger

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// payload is as long as the documentation's event with some more data.
var payload = func() []byte {
	b := make([]byte, 0, 700)
	for i := 0; len(b) < 600; i++ {
		b = fmt.Appendf(b, `"field%d":"value %x",`, i, i*7919)
	}
	return b
}()

func processorTime() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// measure runs the operation in as many goroutines and reports rate and
// processor time, all threads and the kernel included.
func measureParallel(b *testing.B, callers int, perOp int, f func(n int64)) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	before, start := processorTime(), time.Now()
	b.SetParallelism((callers + 1) / 2)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f(next.Add(1))
		}
	})
	n := float64(b.N * perOp)
	b.ReportMetric(float64(processorTime()-before)/n/1000, "cpu-µs/delivery")
	b.ReportMetric(n/time.Since(start).Seconds(), "deliveries/s")
}

func benchOutbox(b *testing.B) *Outbox {
	b.Helper()
	o, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := o.Close(); err != nil {
			b.Error(err)
		}
	})
	return o
}

func benchEvent(n int64, endpoints ...string) []storage.NewEvent {
	return []storage.NewEvent{{
		ID: fmt.Sprintf("wh_evt_%016x", n), Type: "version.promoted", Body: payload, Endpoints: endpoints,
	}}
}

var benchAttempt = storage.Attempt{
	Number: 1, StartedAt: time.Unix(1700000000, 0), Duration: 12 * time.Millisecond,
	Phases: storage.Phases{Write: 40 * time.Microsecond, Wait: 11 * time.Millisecond}, Verdict: "success", Code: "ok",
	StatusCode: 200, Header: map[string]string{"Content-Type": "text/plain", "Date": "Mon, 23 Nov 2026 15:00:00 GMT"},
	Body: []byte("ok"), RemoteAddr: "192.0.2.7:443", TLSVersion: "TLS 1.3",
}

func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			o := benchOutbox(b)
			measureParallel(b, callers, 1, func(n int64) {
				if _, err := o.Accept(b.Context(), benchEvent(n, "acme")); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

func BenchmarkWholeLife(b *testing.B) {
	for _, fan := range []int{1, 10} {
		b.Run(fmt.Sprintf("endpoints=%d", fan), func(b *testing.B) {
			o := benchOutbox(b)
			var names []string
			for i := range fan {
				names = append(names, fmt.Sprintf("endpoint-%d", i))
			}
			measureParallel(b, 64, fan, func(n int64) {
				a, err := o.Accept(b.Context(), benchEvent(n, names...))
				if err != nil {
					b.Error(err)
					return
				}
				for i := range names {
					err := o.Settle(b.Context(), []storage.Settlement{{
						Delivery: a[0].Key.Delivery(i), Attempt: &benchAttempt, Status: storage.StatusDelivered, Code: "ok",
					}})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
