package badger

import (
	"errors"
	"fmt"
	"path/filepath"
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
	for c := range 6 {
		callers.Go(func() {
			for i := range 120 {
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
	callers.Wait()
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
