package badger

import (
	"fmt"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// A delivery that was ended may be settled again, as a test's are, and keeps
// all its attempts, from memory and from the database.
func TestSettlingAgainKeepsAttempts(t *testing.T) {
	t.Parallel()
	o := open(t, t.TempDir(), Options{})
	accepted, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "e", Type: "a.b", Body: []byte("{}"), Endpoints: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	id := accepted[0].Key.Delivery(0)
	for n, status := range []storage.Status{storage.StatusPending, storage.StatusFailed, storage.StatusPending, storage.StatusDelivered} {
		s := storage.Settlement{
			Delivery: id, Status: status, Code: "http_500", NextAttemptAt: time.Now(),
			Attempt: &storage.Attempt{Number: n + 1, Code: fmt.Sprintf("c%d", n+1)},
		}
		if err := o.Settle(t.Context(), []storage.Settlement{s}); err != nil {
			t.Fatal(err)
		}
		if n == 2 { // forget what is in memory
			o.active.Load().takeRecent(id)
		}
		d, attempts, err := o.Delivery(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if d.Status != status || d.Attempts != n+1 || len(attempts) != n+1 {
			t.Fatalf("after attempt %d: got %s with %d attempts, and %d records", n+1, d.Status, d.Attempts, len(attempts))
		}
		for i, a := range attempts {
			if a.Number != i+1 || a.Code != fmt.Sprintf("c%d", i+1) {
				t.Errorf("attempt %d: got number %d, code %s", i+1, a.Number, a.Code)
			}
		}
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	t.Parallel()
	var r recent
	id := func(n int) storage.DeliveryID { return storage.NewEventKey(1, uint32(n)).Delivery(0) }
	const n = 10 * recentSize
	for i := range n {
		r.put(id(i), []byte{byte(i)})
		if held := len(r.young) + len(r.old); held > 2*recentSize {
			t.Fatalf("records: got %d, want %d at most", held, 2*recentSize)
		}
	}
	if got := r.take(id(0)); got != nil {
		t.Errorf("the oldest record: got %v, want none", got)
	}
	for _, i := range []int{n - 1, n - recentSize - 1} {
		if got := r.take(id(i)); len(got) != 1 || got[0] != byte(i) {
			t.Errorf("record %d: got %v, want %v", i, got, []byte{byte(i)})
		}
		if got := r.take(id(i)); got != nil {
			t.Errorf("record %d, taken again: got %v, want none", i, got)
		}
	}
}

// Finished segments may be many, and their deliveries retried for days: their
// records stay on the disk.
func TestPackedSegmentsKeepNoRecords(t *testing.T) {
	t.Parallel()
	o := open(t, t.TempDir(), Options{})
	accepted, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "e", Type: "a.b", Body: []byte("{}"), Endpoints: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	retry := func() {
		t.Helper()
		err := o.Settle(t.Context(), []storage.Settlement{{
			Delivery: accepted[0].Key.Delivery(0), Status: storage.StatusPending, Code: "http_500",
			NextAttemptAt: time.Now(), Attempt: &storage.Attempt{Number: 1, Code: "http_500"},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := o.active.Load()
	retry()
	if got := len(s.recent.young); got != 1 {
		t.Errorf("records of an unpacked segment in memory: got %d, want 1", got)
	}
	packActive(t, o)
	retry()
	if got := len(s.recent.young); got != 0 {
		t.Errorf("records of a packed segment in memory: got %d, want none", got)
	}
}
