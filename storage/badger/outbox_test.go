package badger

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
	"github.com/promptreports/caddy-webhooks/storage/storagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		opt  Options
	}{
		{"default", Options{}},
		{"small segments", Options{limits: limits{deliveries: 40, drain: 1, idle: 2}}},
		{"packing at once", Options{limits: limits{deliveries: 2, drain: 1, idle: 1, tick: time.Millisecond, reserve: -1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(t testing.TB) storagetest.Open {
				dir := filepath.Join(t.TempDir(), "outbox")
				return func() storage.Outbox { return openOutbox(t, dir, test.opt) }
			})
		})
	}
}

// TestConformancePacked seals and packs after a few events, before the call
// returns: so every operation of the suite meets segments that are packed.
func TestConformancePacked(t *testing.T) {
	t.Parallel()
	opt := Options{limits: limits{drain: 1, idle: 1, tick: -1, reserve: -1}}
	storagetest.Run(t, func(t testing.TB) storagetest.Open {
		dir := filepath.Join(t.TempDir(), "outbox")
		return func() storage.Outbox { return &packingOutbox{Outbox: openOutbox(t, dir, opt), t: t} }
	})
}

func openOutbox(t testing.TB, dir string, opt Options) *Outbox {
	t.Helper()
	o, err := Open(dir, opt)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	return o
}

// packingOutbox packs the active segment as soon as it holds a few events and
// no call is under way; later, for the sake of time, some more.
type packingOutbox struct {
	*Outbox
	t     testing.TB
	calls sync.RWMutex // read-locked by every write
	off   atomic.Bool  // a caller went away, and its commit may be under way
}

func (o *packingOutbox) pack(err error) {
	o.calls.RUnlock()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		o.off.Store(true)
	}
	if !o.calls.TryLock() {
		return
	}
	defer o.calls.Unlock()
	if o.enter() != nil {
		return
	}
	defer o.gate.RUnlock()
	s, enough := o.active.Load(), 2
	if len(*o.segments.Load()) > 4 {
		enough = 30
	}
	if !o.off.Load() && s.eventCount() >= enough {
		sealActive(o.t, o.Outbox)
		if o.tidy(); formOf(s) == "journal" {
			o.t.Error("the segment was not packed")
		}
	}
}

func (o *packingOutbox) Accept(ctx context.Context, events []storage.NewEvent) (a []storage.Accepted, err error) {
	o.calls.RLock()
	defer func() { o.pack(err) }()
	return o.Outbox.Accept(ctx, events)
}

func (o *packingOutbox) Settle(ctx context.Context, settlements []storage.Settlement) (err error) {
	o.calls.RLock()
	defer func() { o.pack(err) }()
	return o.Outbox.Settle(ctx, settlements)
}

func (o *packingOutbox) Replay(ctx context.Context, of storage.DeliveryID) (d *storage.Delivery, err error) {
	o.calls.RLock()
	defer func() { o.pack(err) }()
	return o.Outbox.Replay(ctx, of)
}

func (s *segment) eventCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events
}
