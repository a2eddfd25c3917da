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

// benchHistory fills an outbox with n deliveries to four endpoints, of which
// every tenth failed and the others were delivered or, with pending set, all
// are pending.
func benchHistory(b *testing.B, dir string, n int, pending bool) *Outbox {
	b.Helper()
	o, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	names := []string{"alpha", "beta", "gamma", "delta"}
	for i := 0; i < n; i += 1000 {
		batch := make([]storage.NewEvent, 250)
		for j := range batch {
			batch[j] = benchEvent(int64(i+j), names...)[0]
		}
		got, err := o.Accept(b.Context(), batch)
		if err != nil {
			b.Fatal(err)
		}
		if pending {
			continue
		}
		var all []storage.Settlement
		for j, a := range got {
			for k := range names {
				s := storage.Settlement{Delivery: a.Key.Delivery(k), Status: storage.StatusDelivered, Code: "ok", Attempt: &benchAttempt}
				if (j+k)%10 == 0 {
					s.Status, s.Code = storage.StatusFailed, "http_500"
				}
				all = append(all, s)
			}
		}
		if err := o.Settle(b.Context(), all); err != nil {
			b.Fatal(err)
		}
	}
	return o
}

func BenchmarkList(b *testing.B) {
	o := benchHistory(b, b.TempDir(), 300_000, false)
	defer o.Close()
	middle := benchEvent(150_000)[0].ID
	for name, f := range map[string]storage.Filter{
		"all":               {},
		"endpoint":          {Endpoints: []string{"beta"}},
		"failed":            {Status: storage.StatusFailed},
		"endpoint-failed":   {Endpoints: []string{"beta"}, Status: storage.StatusFailed},
		"two-endpoints":     {Endpoints: []string{"beta", "delta"}},
		"type":              {Type: "version.promoted"},
		"event":             {EventID: middle},
		"nothing-has-code":  {Code: "tls_expired"},
		"pending-but-none":  {Status: storage.StatusPending},
		"endpoint-unknown":  {Endpoints: []string{"omega"}},
		"all-but-endpoints": {NotEndpoints: []string{"alpha", "beta"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := o.List(b.Context(), f, storage.PageRequest{Limit: 100}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBacklog(b *testing.B) {
	dir := b.TempDir()
	o := benchHistory(b, dir, 1_000_000, true)
	if err := o.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open to first due", func(b *testing.B) {
		for b.Loop() {
			o, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			if got, err := o.Due(b.Context(), "gamma", storage.Position{}, 256); err != nil || len(got) != 256 {
				b.Fatal(len(got), err)
			}
			b.StopTimer()
			if err := o.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	o, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	b.Run("due window of 256", func(b *testing.B) {
		b.ReportAllocs()
		var after storage.Position
		for b.Loop() {
			got, err := o.Due(b.Context(), "beta", after, 256)
			if err != nil {
				b.Fatal(err)
			}
			if after = (storage.Position{}); len(got) > 0 {
				after = storage.Position{At: got[len(got)-1].At, ID: got[len(got)-1].ID}
			}
		}
	})
}
