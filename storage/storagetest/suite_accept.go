package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

func testAcceptAnswers(t *testing.T, h *harness) {
	first := h.accept(event("a", "x", "y"))[0]
	if first.Deliveries != 2 || first.Duplicate || !first.AcceptedAt.Equal(first.Key.Time()) {
		t.Errorf("got %+v, want 2 deliveries accepted at %v", first, first.Key.Time())
	}
	again := h.accept(event("a", "x", "z", "w"))[0]
	if !again.Duplicate || again.Key != first.Key || again.Deliveries != 2 || !again.AcceptedAt.Equal(first.AcceptedAt) {
		t.Errorf("a duplicate: got %+v, want the first %+v", again, first)
	}
	other := event("a", "x")
	other.Body = []byte("other")
	_, err := h.Accept(h.Context(), []storage.NewEvent{other})
	var conflict *storage.ConflictError
	if !errors.As(err, &conflict) || !slices.Equal(conflict.Indexes, []int{0}) {
		t.Errorf("another body: got error %v, want a conflict of event 0", err)
	}
	none := h.accept(event("none"))[0]
	if none.Deliveries != 0 {
		t.Errorf("no endpoint: got %d deliveries, want 0", none.Deliveries)
	}
	if again := h.accept(event("none"))[0]; !again.Duplicate || again.Key != none.Key {
		t.Errorf("a duplicate without endpoints: got %+v, want %+v", again, none)
	}
	if n := len(h.list(storage.Filter{}, 10)); n != 2 {
		t.Errorf("got %d deliveries, want 2", n)
	}
	if got, err := h.Accept(h.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("accepting nothing: got %v, %v", got, err)
	}
}

func testAcceptKeepsNothing(t *testing.T, h *harness) {
	e := event("a", "x", "y")
	want := bytes.Clone(e.Body)
	e.TraceParent, e.TraceState = "00-1-2-01", "k=v"
	key := h.accept(e)[0].Key
	clear(e.Body)
	clear(e.Endpoints)
	for range 2 {
		got, err := h.Event(h.Context(), key)
		if err != nil || !bytes.Equal(got.Body, want) || got.ID != "a" || got.Type != e.Type ||
			got.TraceParent != e.TraceParent || got.TraceState != e.TraceState || got.Deliveries != 2 || got.Key != key {
			t.Fatalf("got %+v, %v, want body %s", got, err, want)
		}
		clear(got.Body) // what is handed out belongs to the caller
	}
	if d, _ := h.delivery(key.Delivery(1)); d.Endpoint != "y" {
		t.Errorf("got endpoint %q, want y", d.Endpoint)
	}
	if n := h.Pending()["x"].Count; n != 1 {
		t.Errorf("pending of x: got %d, want 1", n)
	}
}

func testBatchAtomic(t *testing.T, h *harness) {
	h.accept(event("kept", "x"))
	bad := event("kept", "x")
	bad.Body = []byte("other")
	_, err := h.Accept(h.Context(), []storage.NewEvent{event("new", "x"), bad, event("newer", "x"), bad})
	var conflict *storage.ConflictError
	if !errors.As(err, &conflict) || len(conflict.Indexes) == 0 || conflict.Indexes[0] != 1 {
		t.Errorf("got error %v, want a conflict that begins with event 1", err)
	}
	if n := len(h.list(storage.Filter{}, 10)); n != 1 {
		t.Errorf("after a conflict: got %d deliveries, want 1", n)
	}
	_, _, err = h.EventByID(h.Context(), "new")
	wantError(t, "an event of the refused batch", err, storage.ErrNotFound)
	got := h.accept(event("new", "x"), event("kept", "x"), event("newer", "x"))
	if got[0].Duplicate || !got[1].Duplicate || got[2].Duplicate {
		t.Errorf("got %+v, want only the second as duplicate", got)
	}
	if bytes.Compare(got[0].Key[:], got[2].Key[:]) >= 0 {
		t.Errorf("keys of a batch: got %x and %x, want them ascending", got[0].Key, got[2].Key)
	}
}

func testDuplicateInBatch(t *testing.T, h *harness) {
	got := h.accept(event("a", "x"), event("a", "x"), event("b", "x"))
	if got[0].Duplicate || !got[1].Duplicate || got[0].Key != got[1].Key || got[2].Duplicate {
		t.Errorf("got %+v, want the second as duplicate of the first", got)
	}
	bad := event("c", "x")
	bad.Body = []byte("other")
	_, err := h.Accept(h.Context(), []storage.NewEvent{event("c", "x"), bad})
	var conflict *storage.ConflictError
	if !errors.As(err, &conflict) || !slices.Contains(conflict.Indexes, 1) {
		t.Errorf("two bodies in one batch: got error %v, want a conflict of event 1", err)
	}
	if n := len(h.list(storage.Filter{}, 10)); n != 2 {
		t.Errorf("got %d deliveries, want 2", n)
	}
}

func testDigest(t *testing.T, h *harness) {
	e := event("a", "x")
	e.Digest = [32]byte{1}
	h.accept(e)
	e.Body = []byte("the same, received later")
	if got := h.accept(e)[0]; !got.Duplicate {
		t.Errorf("same digest: got %+v, want a duplicate", got)
	}
	e.Digest = [32]byte{2}
	_, err := h.Accept(h.Context(), []storage.NewEvent{e})
	if _, ok := errors.AsType[*storage.ConflictError](err); !ok {
		t.Errorf("another digest: got error %v, want a conflict", err)
	}
}

func testRacing(t *testing.T, h *harness) {
	const racers = 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored, duplicates, conflicts := 0, 0, 0
	keys := map[storage.EventKey]bool{}
	for i := range racers {
		wg.Go(func() {
			e := event("same", "x")
			if i%5 == 4 {
				e.Body = []byte("other")
			}
			got, err := h.Accept(h.Context(), []storage.NewEvent{e})
			var conflict *storage.ConflictError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.As(err, &conflict):
				conflicts++
			case err != nil:
				t.Errorf("accepting: %v", err)
			case got[0].Duplicate:
				duplicates++
				keys[got[0].Key] = true
			default:
				stored++
				keys[got[0].Key] = true
			}
		})
	}
	wg.Wait()
	if stored != 1 || len(keys) != 1 || stored+duplicates+conflicts != racers || (conflicts != 10 && conflicts != 40) {
		t.Errorf("got %d stored, %d duplicates, %d conflicts, %d keys; want 1 stored, and the others as its body says",
			stored, duplicates, conflicts, len(keys))
	}
	if n := len(h.due("x", 10)); n != 1 {
		t.Errorf("got %d deliveries, want 1", n)
	}
}

func testCancelled(t *testing.T, h *harness) {
	ctx, cancel := context.WithCancel(h.Context())
	cancel()
	_, err := h.Accept(ctx, []storage.NewEvent{event("a", "x")})
	wantError(t, "accepting", err, context.Canceled)
	// The id is free again, whatever became of it.
	h.accept(event("a", "x"))
	if n := len(h.due("x", 10)); n != 1 {
		t.Errorf("got %d deliveries, want 1", n)
	}
}

func testLongBodies(t *testing.T, h *harness) {
	var batch []storage.NewEvent
	for i := range 17 {
		e := event(fmt.Sprint("long", i), "x")
		e.Body = bytes.Repeat([]byte{byte('a' + i)}, 1<<20-i)
		batch = append(batch, e)
	}
	check := func() {
		t.Helper()
		for i := range batch {
			got, all, err := h.EventByID(h.Context(), batch[i].ID)
			if err != nil || !bytes.Equal(got.Body, batch[i].Body) || len(all) != 1 {
				t.Fatalf("event %d: got %v and %d deliveries, want its body of %d bytes", i, err, len(all), len(batch[i].Body))
			}
		}
	}
	h.accept(batch[:16]...)
	h.accept(batch[16])
	check()
	h.reopen()
	check()
}

func testManyEndpoints(t *testing.T, h *harness) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("endpoint-%05d", i)
	}
	ids := h.one("a", names...)
	if n := len(h.Pending()); n != len(names) {
		t.Errorf("got %d endpoints with pending deliveries, want %d", n, len(names))
	}
	for _, i := range []int{0, 1, 5000, 9999} {
		if got := h.due(names[i], 3); len(got) != 1 || got[0].ID != ids[i] {
			t.Errorf("due of %s: got %v, want %s", names[i], got, ids[i])
		}
	}
}

func testTestEvents(t *testing.T, h *harness) {
	e := event("a", "x", "y")
	e.Test = true
	key := h.accept(e)[0].Key
	for i := range 2 {
		d, _ := h.delivery(key.Delivery(i))
		if d.Status != storage.StatusFailed || d.Code != storage.CodeInterrupted || !d.Test || !d.NextAttemptAt.IsZero() {
			t.Errorf("got %+v, want a failed, interrupted test", d)
		}
	}
	if got := h.due("x", 5); len(got) != 0 || len(h.Pending()) != 0 {
		t.Errorf("got %v due and %v pending, want nothing", got, h.Pending())
	}
	failed := storage.Filter{Status: storage.StatusFailed, Endpoints: []string{"x"}}
	if got := h.list(failed, 5); len(got) != 1 {
		t.Errorf("failed: got %v, want the test", got)
	}
	h.settle(storage.Settlement{
		Delivery: key.Delivery(0), Attempt: &storage.Attempt{Number: 1, Verdict: "success", Code: "ok", StatusCode: 200},
		Status: storage.StatusDelivered, Code: "ok",
	})
	if d, attempts := h.delivery(key.Delivery(0)); d.Status != storage.StatusDelivered || len(attempts) != 1 || !d.Test {
		t.Errorf("got %+v with %d attempts, want it delivered by one", d, len(attempts))
	}
	if got := h.list(failed, 5); len(got) != 0 {
		t.Errorf("failed: got %v, want nothing", got)
	}
	if ev, err := h.Event(h.Context(), key); err != nil || !ev.Test {
		t.Errorf("got %+v, %v, want a test", ev, err)
	}
}
