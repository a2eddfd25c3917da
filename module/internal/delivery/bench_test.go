package delivery

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

// blank is an outbox that keeps nothing, so that a benchmark shows what the
// engine costs.
type blank struct {
	storage.Outbox
	seq     atomic.Uint32
	settled chan struct{}
}

func (b *blank) Accept(_ context.Context, events []storage.NewEvent) ([]storage.Accepted, error) {
	accepted := make([]storage.Accepted, len(events))
	for i := range events {
		key := storage.NewEventKey(1, b.seq.Add(1))
		accepted[i] = storage.Accepted{Key: key, AcceptedAt: key.Time(), Deliveries: len(events[i].Endpoints)}
	}
	return accepted, nil
}

func (b *blank) Settle(context.Context, []storage.Settlement) error {
	b.settled <- struct{}{}
	return nil
}

// mute is an observer that does not look.
type mute struct{}

func (mute) AttemptDone(_, _, _ string, _ time.Duration)                    {}
func (mute) DeliveryDone(Done)                                              {}
func (mute) EndpointChanged(string, EndpointHealth, EndpointHealth, string) {}

func benchmark(b *testing.B, outbox storage.Outbox, settled chan struct{}, endpoints int) {
	b.ReportAllocs()
	r := &rig{t: b, watch: new(watch)}
	var list []*Endpoint
	for i := range endpoints {
		list = append(list, endpoint("e"+strconv.Itoa(i)))
	}
	s := r.snapshot(list...)
	s.Observer, s.Logger = mute{}, zap.NewNop()
	e, err := newEngine(Options{Outbox: outbox}, func(context.Context, *Message) Outcome { return delivered })
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	e.Attach(s)
	body := make([]byte, 600)
	pub := make([]Publication, 1)
	n := 0
	for b.Loop() {
		n++
		pub[0].Event = &event.Event{ID: "evt_" + strconv.Itoa(n), Type: "all", Body: body}
		if _, err := e.Publish(context.Background(), pub); err != nil {
			b.Fatal(err)
		}
		for range endpoints {
			<-settled
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*endpoints), "ns/delivery")
}

// BenchmarkEngine measures one event from Publish to the settlement of all its
// deliveries, with an outbox and a sender that do nothing.
func BenchmarkEngine(b *testing.B) {
	for _, endpoints := range []int{1, 10, 1000} {
		b.Run(strconv.Itoa(endpoints), func(b *testing.B) {
			outbox := &blank{Outbox: storagetest.NewFake(storagetest.FakeOptions{}), settled: make(chan struct{}, endpoints)}
			benchmark(b, outbox, outbox.settled, endpoints)
		})
	}
}

// BenchmarkEngineOnFake is the same on the outbox in memory.
func BenchmarkEngineOnFake(b *testing.B) {
	settled := make(chan struct{}, 1)
	fake := storagetest.NewFake(storagetest.FakeOptions{Hooks: storagetest.FakeHooks{
		AfterSettle: func([]storage.Settlement) error { settled <- struct{}{}; return nil },
	}})
	benchmark(b, fake, settled, 1)
}

// BenchmarkEngineParallel publishes from 64 senders at a time, each of which
// waits for nothing but the commit.
func BenchmarkEngineParallel(b *testing.B) {
	b.ReportAllocs()
	outbox := &blank{Outbox: storagetest.NewFake(storagetest.FakeOptions{}), settled: make(chan struct{}, 1<<20)}
	r := &rig{t: b, watch: new(watch)}
	s := r.snapshot(endpoint("e0"))
	s.Observer = mute{}
	e, err := newEngine(Options{Outbox: outbox}, func(context.Context, *Message) Outcome { return delivered })
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	e.Attach(s)
	body := make([]byte, 600)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		pub := make([]Publication, 1)
		for pb.Next() {
			pub[0].Event = &event.Event{ID: "evt", Type: "all", Body: body}
			if _, err := e.Publish(context.Background(), pub); err != nil {
				b.Error(err)
				return
			}
			<-outbox.settled
		}
	})
}

var delivered = outcomeOf(200)
