package storagetest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

func testReplay(t *testing.T, h *harness) {
	of := h.one("a", "x", "y")[1]
	h.settle(storage.Settlement{Delivery: of, Attempt: &storage.Attempt{Number: 1}, Status: storage.StatusFailed, Code: "http_500"})
	copied, err := h.Replay(h.Context(), of)
	if err != nil {
		t.Fatalf("replaying: %v", err)
	}
	if copied.ReplayOf != of || copied.Endpoint != "y" || copied.EventID != "a" || copied.Status != storage.StatusPending ||
		copied.Attempts != 0 || copied.ID.Compare(of) <= 0 {
		t.Errorf("got %+v, want a pending copy for y", copied)
	}
	again, err := h.Replay(h.Context(), copied.ID)
	if err != nil || again.ReplayOf != copied.ID {
		t.Fatalf("replaying the copy: got %+v, %v", again, err)
	}
	check := func() {
		t.Helper()
		d, _ := h.delivery(copied.ID)
		if d.ReplayOf != of || d.Status != storage.StatusPending {
			t.Errorf("got %+v, want the copy", d)
		}
		if got := h.due("y", 5); len(got) != 2 || got[0].ID != copied.ID || got[1].ID != again.ID {
			t.Errorf("due: got %v, want %s and %s", got, copied.ID, again.ID)
		}
		ev, err := h.Event(h.Context(), copied.ID.Event())
		if err != nil || string(ev.Body) != `{"id":"a"}` || ev.ID != "a" {
			t.Errorf("the copy's event: got %+v, %v", ev, err)
		}
		_, all, err := h.EventByID(h.Context(), "a")
		if err != nil || len(all) != 4 || all[1].ID != of || all[2].ID != copied.ID || all[3].ID != again.ID {
			t.Errorf("by id: got %v, %v, want four deliveries in order", all, err)
		}
		if got := h.list(storage.Filter{EventID: "a"}, 3); len(got) != 4 || got[0].ID != again.ID {
			t.Errorf("listing by id: got %v, want four", got)
		}
		if got := h.accept(event("a", "x", "y"))[0]; !got.Duplicate || got.Deliveries != 2 || got.Key != of.Event() {
			t.Errorf("accepting it again: got %+v, want a duplicate of the first", got)
		}
	}
	check()
	h.reopen()
	check()
}

// history makes deliveries of all kinds and returns them, newest first.
func history(h *harness, n int) (all []storage.Delivery) {
	rnd := rand.New(rand.NewPCG(3, 4))
	statuses := []storage.Status{storage.StatusPending, storage.StatusDelivered, storage.StatusFailed, storage.StatusCancelled}
	endpoints := []string{"a", "b", "c", "d"}
	var ids []storage.DeliveryID
	for i := range n {
		e := event(fmt.Sprint("event-", i))
		e.Type = []string{"t.one", "t.two", "t.three"}[rnd.IntN(3)]
		rnd.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
		e.Endpoints = slices.Clone(endpoints[:rnd.IntN(4)])
		key := h.accept(e)[0].Key
		for j := range e.Endpoints {
			ids = append(ids, key.Delivery(j))
		}
		if len(ids) > 0 && rnd.IntN(2) == 0 {
			h.settle(storage.Settlement{
				Delivery: ids[rnd.IntN(len(ids))], Attempt: &storage.Attempt{Number: 1, StatusCode: 500},
				Status: statuses[rnd.IntN(4)], Code: []string{"ok", "http_500"}[rnd.IntN(2)], NextAttemptAt: time.Now(),
			})
		}
	}
	for _, id := range slices.Backward(ids) {
		d, _ := h.delivery(id)
		all = append(all, *d)
	}
	return all
}

func testListModel(t *testing.T, h *harness) {
	all := history(h, 150)
	middle := all[len(all)/2].CreatedAt
	check := func() {
		t.Helper()
		for _, f := range filters(all[7].EventID, middle) {
			var want []storage.Delivery
			for _, d := range all {
				if modelAdmits(&f, &d) {
					want = append(want, d)
				}
			}
			for _, limit := range []int{3, 1000} {
				if got := h.list(f, limit); !slices.EqualFunc(got, want, sameDelivery) {
					t.Errorf("filter %+v, limit %d: got %d deliveries, want %d:\n%v\n%v", f, limit, len(got), len(want), got, want)
				}
			}
		}
	}
	check()
	h.reopen()
	check()
}

// filters are all combinations of what a filter can say.
func filters(eventID string, middle time.Time) (all []storage.Filter) {
	for _, status := range []storage.Status{"", storage.StatusPending, storage.StatusFailed, storage.StatusDelivered, storage.StatusOrphaned} {
		for _, endpoints := range [][]string{nil, {"a"}, {"a", "c"}, {"unknown"}} {
			for _, typ := range []string{"", "t.one", "t.unknown"} {
				all = append(all,
					storage.Filter{Status: status, Endpoints: endpoints, Type: typ},
					storage.Filter{Status: status, Endpoints: endpoints, Type: typ, Code: "http_500"},
					storage.Filter{Status: status, Endpoints: endpoints, Type: typ, NotEndpoints: []string{"a", "b"}},
					storage.Filter{Status: status, Endpoints: endpoints, Type: typ, Since: middle},
					storage.Filter{Status: status, Endpoints: endpoints, Type: typ, Until: middle},
					storage.Filter{Status: status, Endpoints: endpoints, Type: typ, EventID: eventID},
				)
			}
		}
	}
	return append(all,
		storage.Filter{Since: middle, Until: middle.Add(50 * time.Millisecond)},
		storage.Filter{Since: middle.Add(100 * time.Microsecond)},
		storage.Filter{Until: middle.Add(100 * time.Microsecond)},
		storage.Filter{EventID: "unknown"},
	)
}

func modelAdmits(f *storage.Filter, d *storage.Delivery) bool {
	return (f.Status == "" || f.Status == d.Status) &&
		(f.Endpoints == nil || slices.Contains(f.Endpoints, d.Endpoint)) &&
		!slices.Contains(f.NotEndpoints, d.Endpoint) &&
		(f.Type == "" || f.Type == d.Type) &&
		(f.EventID == "" || f.EventID == d.EventID) &&
		(f.Code == "" || f.Code == d.Code) &&
		(f.Since.IsZero() || !d.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || d.CreatedAt.Before(f.Until))
}

func sameDelivery(a, b storage.Delivery) bool {
	if !a.CreatedAt.Equal(b.CreatedAt) || !a.NextAttemptAt.Equal(b.NextAttemptAt) || !a.LastAttemptAt.Equal(b.LastAttemptAt) {
		return false
	}
	a.CreatedAt, a.NextAttemptAt, a.LastAttemptAt = b.CreatedAt, b.NextAttemptAt, b.LastAttemptAt
	return reflect.DeepEqual(a, b)
}

func testCursors(t *testing.T, h *harness) {
	h.one("a", "x", "y", "z")
	page, err := h.List(h.Context(), storage.Filter{}, storage.PageRequest{Limit: 2})
	if err != nil || len(page.Deliveries) != 2 || page.Next == "" {
		t.Fatalf("got %+v, %v, want two deliveries and a cursor", page, err)
	}
	h.one("b", "x") // what comes later stays out of the listing that goes on
	rest, err := h.List(h.Context(), storage.Filter{}, storage.PageRequest{Limit: 2, Cursor: page.Next})
	if err != nil || len(rest.Deliveries) != 1 || rest.Deliveries[0].Endpoint != "x" {
		t.Errorf("got %+v, %v, want the third delivery", rest, err)
	}
	for _, bad := range []string{"x", "!", page.Next + "A", page.Next[1:], "AAAA", "wh_dlv_000"} {
		_, err := h.List(h.Context(), storage.Filter{}, storage.PageRequest{Limit: 2, Cursor: bad})
		wantError(t, "cursor "+bad, err, storage.ErrBadCursor)
	}
}

func testEndpointStates(t *testing.T, h *harness) {
	since := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	paused := storage.EndpointState{Paused: true, Reason: "operator", Since: since}
	failing := storage.EndpointState{FailingSince: since}
	set := func(name string, s storage.EndpointState) {
		t.Helper()
		if err := h.SetEndpointState(h.Context(), name, s); err != nil {
			t.Fatalf("setting: %v", err)
		}
	}
	set("x", paused)
	set("y", failing)
	set("z", paused)
	set("z", storage.EndpointState{})
	for range 2 {
		got, err := h.EndpointStates(h.Context())
		if err != nil || len(got) != 2 || !got["x"].Paused || got["x"].Reason != "operator" || !got["x"].Since.Equal(since) ||
			got["y"].Paused || !got["y"].FailingSince.Equal(since) || !got["y"].Since.IsZero() {
			t.Errorf("got %+v, %v, want x paused and y failing", got, err)
		}
		delete(got, "x") // it is the caller's
		h.reopen()
	}
}

func testReopen(t *testing.T, h *harness) {
	all := history(h, 60)
	ev, _, err := h.EventByID(h.Context(), all[0].EventID)
	if err != nil {
		t.Fatal(err)
	}
	pending := h.Pending()
	h.reopen()
	if got := h.list(storage.Filter{}, 1000); !slices.EqualFunc(got, all, sameDelivery) {
		t.Errorf("got %v, want %v", got, all)
	}
	got := h.Pending()
	for name, c := range pending {
		if got[name].Count != c.Count {
			t.Errorf("pending of %s: got %d, want %d", name, got[name].Count, c.Count)
		}
	}
	again, err := h.Event(h.Context(), ev.Key)
	if err != nil || !reflect.DeepEqual(again, ev) {
		t.Errorf("got %+v, %v, want %+v", again, err, ev)
	}
	if a := h.accept(event(ev.ID))[0]; !a.Duplicate {
		t.Errorf("an id from before: got %+v, want a duplicate", a)
	}
	if next := h.one("new", "a")[0]; next.Compare(all[0].ID) <= 0 {
		t.Errorf("a new id: got %s, want more than %s", next, all[0].ID)
	}
}

func testClosed(t *testing.T, h *harness) {
	id := h.one("a", "x")[0]
	for range 2 {
		if err := h.Close(); err != nil {
			t.Fatalf("closing: %v", err)
		}
	}
	ctx := h.Context()
	var errs []error
	keep := func(err error) { errs = append(errs, err) }
	_, err := h.Accept(ctx, []storage.NewEvent{event("b", "x")})
	keep(err)
	keep(h.Settle(ctx, []storage.Settlement{{Delivery: id, Status: storage.StatusDelivered}}))
	_, err = h.Due(ctx, "x", storage.Position{}, 1)
	keep(err)
	_, err = h.Event(ctx, id.Event())
	keep(err)
	_, _, err = h.EventByID(ctx, "a")
	keep(err)
	_, _, err = h.Delivery(ctx, id)
	keep(err)
	_, err = h.List(ctx, storage.Filter{}, storage.PageRequest{Limit: 1})
	keep(err)
	_, err = h.Replay(ctx, id)
	keep(err)
	keep(h.SetEndpointState(ctx, "x", storage.EndpointState{Paused: true}))
	_, err = h.EndpointStates(ctx)
	keep(err)
	for i, err := range errs {
		wantError(t, fmt.Sprint("call ", i, " after closing"), err, storage.ErrClosed)
	}
	h.Pending()
	h.Usage()
	h.Outbox.Failed()
}
