//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/badger"
)

// fillBatch is the number of events that are stored in one call.
const fillBatch = 500

// filler writes deliveries to an outbox without sending them.
type filler struct {
	run, n   int
	pending  bool
	writers  int           // goroutines; with one, events are accepted in order
	span     time.Duration // that the times of acceptance cover, up to now
	endpoint func(seq int) string
	kind     func(seq int) string // type
	code     func(seq int) string // of the attempt: ok, or that of a failure
}

// fill writes to the outbox in dir and closes it.
func (f filler) fill(ctx context.Context, dir string) (err error) {
	var done atomic.Int64 // events, which drive the clock
	end := time.Now()
	began := end.Add(-f.span)
	o, err := badger.Open(filepath.Join(dir, "outbox"), badger.Options{
		MaxSize: 1 << 40,
		Now: func() time.Time {
			return began.Add(time.Duration(float64(f.span) * min(float64(done.Load())/float64(f.n), 1)))
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range f.writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				from := int(next.Add(fillBatch)) - fillBatch
				if from >= f.n {
					return
				}
				n := min(fillBatch, f.n-from)
				if err := f.batch(ctx, o, from, n); err != nil {
					cancel(fmt.Errorf("filling the outbox: %w", err))
				}
				done.Add(int64(n))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (f filler) batch(ctx context.Context, o storage.Outbox, from, n int) error {
	events := make([]storage.NewEvent, n)
	for i := range events {
		body := appendEvent(nil, f.run, from+i)
		events[i] = storage.NewEvent{
			ID: eventID(f.run, from+i), Type: f.kind(from + i), Body: body, Endpoints: []string{f.endpoint(from + i)},
		}
	}
	accepted, err := o.Accept(ctx, events)
	if err != nil || f.pending {
		return err
	}
	settlements := make([]storage.Settlement, n)
	for i, a := range accepted {
		settlements[i] = f.settlement(from+i, a)
	}
	return o.Settle(ctx, settlements)
}

func (f filler) settlement(seq int, a storage.Accepted) storage.Settlement {
	code, status, verdict, answer := f.code(seq), storage.StatusDelivered, "success", 200
	if code != "ok" {
		status, verdict, answer = storage.StatusFailed, "permanent", 400
	}
	return storage.Settlement{
		Delivery: a.Key.Delivery(0), Status: status, Code: code,
		Attempt: &storage.Attempt{
			Number: 1, StartedAt: a.AcceptedAt, Duration: 12 * time.Millisecond,
			Phases:  storage.Phases{Write: 40 * time.Microsecond, Wait: 11 * time.Millisecond},
			Verdict: verdict, Code: code, StatusCode: answer, Body: []byte("ok"), RemoteAddr: "192.0.2.7:443", TLSVersion: "TLS 1.3",
			Header: map[string]string{"Content-Type": "text/plain", "Date": "Mon, 23 Nov 2026 15:00:00 GMT"},
		},
	}
}

// always is the same for every event.
func always(s string) func(int) string { return func(int) string { return s } }
