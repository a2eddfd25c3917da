package badger

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// TestStress lets everything happen at once over small segments, closes in
// the middle, and compares what is there with what was acknowledged.
func TestStress(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	opt := Options{limits: limits{deliveries: 60, tick: time.Millisecond, drain: 1, idle: 1}}
	o, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	want := map[storage.DeliveryID]storage.Status{}
	var callers, readers sync.WaitGroup
	fatal := func(what string, err error) bool {
		if err != nil && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
		return err != nil
	}
	for range 2 {
		readers.Go(func() {
			for {
				page, err := o.List(t.Context(), storage.Filter{Endpoints: []string{"x"}}, storage.PageRequest{Limit: 20})
				if fatal("listing", err) {
					return
				}
				for _, d := range page.Deliveries {
					if _, _, err := o.Delivery(t.Context(), d.ID); fatal("reading", err) {
						return
					}
				}
				if _, err := o.Due(t.Context(), "y", storage.Position{}, 50); fatal("reading what is due", err) {
					return
				}
				o.Pending()
				o.Usage()
			}
		})
	}
	for round := range 4 {
		for c := range 6 {
			callers.Go(func() {
				for i := 30 * round; i < 30*(round+1); i++ {
					got, err := o.Accept(t.Context(), []storage.NewEvent{{ID: fmt.Sprint(c, "-", i), Type: "t", Endpoints: []string{"x", "y"}}})
					if fatal("accepting", err) {
						return
					}
					status := storage.StatusPending
					id := got[0].Key.Delivery(i % 2)
					if i%3 != 0 {
						status = storage.StatusDelivered
					}
					err = o.Settle(t.Context(), []storage.Settlement{{Delivery: id, Attempt: &benchAttempt, Status: status, NextAttemptAt: time.Now()}})
					if fatal("settling", err) {
						return
					}
					mu.Lock()
					want[id] = status
					mu.Unlock()
				}
			})
		}
		callers.Wait()
		await(t, "the next segment", func() bool { return len(*o.segments.Load()) > round+1 })
	}
	if err := o.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}
	readers.Wait()
	o = open(t, dir, opt)
	if err := o.Usage().Err; err != nil {
		t.Fatalf("opened again: %v", err)
	}
	pending := 6 * 120 // those that were not settled
	for id, status := range want {
		d, _, err := o.Delivery(t.Context(), id)
		if err != nil || d.Status != status {
			t.Fatalf("delivery %s: got %+v, %v, want %s", id, d, err, status)
		}
		if status == storage.StatusPending {
			pending++
		}
	}
	if got := o.Usage().Pending; got != pending {
		t.Errorf("pending: got %d, want %d", got, pending)
	}
	if n := len(*o.segments.Load()); n < 4 {
		t.Errorf("got %d segments, want many, or nothing was tried", n)
	}
}

// TestReadsDuringChangeOver reads and settles from many goroutines while the
// segments that they work on are sealed and packed under them: every delivery
// ends exactly once, and is never out of sight.
func TestReadsDuringChangeOver(t *testing.T) {
	t.Parallel()
	opt := Options{limits: limits{deliveries: 45, tick: time.Millisecond, drain: 1, idle: 1, reserve: -1}}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	const events, readersAtOnce = 200, 2
	endpoints := []string{"a", "b", "c"}
	ended := map[storage.DeliveryID]int{}
	var mu sync.Mutex
	accepted := make(chan struct{})
	var engines, readers sync.WaitGroup
	// An engine settles what is due at its endpoint, each delivery with a
	// reschedule first.
	engine := func(name string) {
		for last := false; ; {
			select {
			case <-accepted:
				last = true
			default:
			}
			due, err := o.Due(t.Context(), name, storage.Position{}, 20)
			if err != nil {
				t.Errorf("due: %v", err)
				return
			}
			for _, d := range due {
				s := storage.Settlement{Delivery: d.ID, Status: storage.StatusDelivered, Attempt: &storage.Attempt{Number: d.Attempts + 1}}
				if d.Attempts == 0 {
					s.Status, s.NextAttemptAt = storage.StatusPending, d.At.Add(time.Millisecond)
				}
				if err := o.Settle(t.Context(), []storage.Settlement{s}); err != nil {
					t.Errorf("settling %s: %v", d.ID, err)
					return
				}
				if s.Status == storage.StatusDelivered {
					mu.Lock()
					ended[d.ID]++
					mu.Unlock()
				}
			}
			if last && len(due) == 0 {
				return
			}
		}
	}
	for _, name := range endpoints {
		engines.Go(func() { engine(name) })
	}
	stop := make(chan struct{})
	for range readersAtOnce {
		readers.Go(func() { readAll(t, o, stop) })
	}
	for i := range events {
		accept(t, o, fmt.Sprint(i), endpoints...)
		if n := i / 40; i%40 == 39 {
			await(t, "the next segment", func() bool { return len(*o.segments.Load()) > n+1 })
		}
	}
	close(accepted)
	engines.Wait()
	close(stop)
	readers.Wait()
	for id, n := range ended {
		if n != 1 {
			t.Errorf("delivery %s ended %d times", id, n)
		}
	}
	if len(ended) != events*len(endpoints) || o.Usage().Pending != 0 {
		t.Errorf("got %d deliveries ended and %d pending, want all %d", len(ended), o.Usage().Pending, events*len(endpoints))
	}
	await(t, "all that is sealed is packed", func() bool {
		return !slices.ContainsFunc(*o.segments.Load(), func(s *segment) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.sealed && !s.packed
		})
	})
	if n := len(*o.segments.Load()); n < 3 {
		t.Errorf("got %d segments, want many, or nothing was tried", n)
	}
	for id := range ended {
		wantDelivery(t, o, id, storage.StatusDelivered, 2)
	}
}

// readAll lists all there is, and reads each in every way, again and again.
func readAll(t *testing.T, o *Outbox, stop <-chan struct{}) {
	seen := 0
	for {
		req, n := storage.PageRequest{Limit: 100}, 0
		for {
			page, err := o.List(t.Context(), storage.Filter{Type: "t"}, req)
			if err != nil {
				t.Errorf("listing: %v", err)
				return
			}
			n += len(page.Deliveries)
			for i := 0; i < len(page.Deliveries); i += 10 {
				d := &page.Deliveries[i]
				now, as, err := o.Delivery(t.Context(), d.ID)
				if err != nil || now.Attempts < d.Attempts || len(as) != now.Attempts {
					t.Errorf("delivery %s with %d attempts: got %+v with %d, %v", d.ID, d.Attempts, now, len(as), err)
					return
				}
				if e, err := o.Event(t.Context(), d.ID.Event()); err != nil || e.ID != d.EventID {
					t.Errorf("event of %s: got %v, %v", d.ID, e, err)
					return
				}
			}
			if req.Cursor = page.Next; req.Cursor == "" {
				break
			}
		}
		if n < seen {
			t.Errorf("listing: got %d deliveries, and before there were %d", n, seen)
		}
		seen = n
		select {
		case <-stop:
			return
		default:
		}
	}
}
