package storagetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

func testSettleAttempts(t *testing.T, h *harness) {
	id := h.one("a", "x")[0]
	start := time.UnixMicro(1_700_000_000_123_456).UTC()
	next := start.Add(time.Hour).Truncate(time.Millisecond)
	first := storage.Attempt{
		Number: 1, StartedAt: start, Duration: 1500 * time.Microsecond,
		Phases: storage.Phases{
			DNS: time.Microsecond, Connect: 2 * time.Microsecond, TLS: 3 * time.Microsecond,
			Write: 4 * time.Microsecond, Wait: 5 * time.Microsecond, Body: 6 * time.Microsecond,
		},
		Verdict: "retry", Code: "http_503", StatusCode: 503, Header: map[string]string{"Retry-After": "1", "Date": ""},
		Body: []byte("busy\x00"), BodyTruncated: true, BodyIncomplete: true, RemoteAddr: "192.0.2.1:443", TLSVersion: "TLS 1.3",
		NextAttemptAt: next,
	}
	second := storage.Attempt{Number: 2, StartedAt: start.Add(time.Minute), Verdict: "success", Code: "ok", StatusCode: 204}
	h.settle(storage.Settlement{Delivery: id, Attempt: &first, Status: storage.StatusPending, Code: "http_503", NextAttemptAt: next})
	d, attempts := h.delivery(id)
	if d.Status != storage.StatusPending || d.Attempts != 1 || d.Code != "http_503" || d.StatusCode != 503 ||
		!d.LastAttemptAt.Equal(start) || !d.NextAttemptAt.Equal(next) {
		t.Errorf("after the first attempt: got %+v", d)
	}
	if len(attempts) != 1 || !sameAttempt(attempts[0], first) {
		t.Errorf("got attempts %+v, want %+v", attempts, first)
	}
	h.settle(storage.Settlement{Delivery: id, Attempt: &second, Status: storage.StatusDelivered, Code: "ok"})
	d, attempts = h.delivery(id)
	if d.Status != storage.StatusDelivered || d.Attempts != 2 || d.StatusCode != 204 || !d.NextAttemptAt.IsZero() {
		t.Errorf("after the second attempt: got %+v", d)
	}
	if len(attempts) != 2 || !sameAttempt(attempts[0], first) || !sameAttempt(attempts[1], second) {
		t.Errorf("got attempts %+v, want %+v and %+v", attempts, first, second)
	}
	other := h.one("b", "x")[0]
	h.settle(storage.Settlement{Delivery: other, Status: storage.StatusCancelled, Code: "cancelled"})
	if d, attempts := h.delivery(other); d.Status != storage.StatusCancelled || d.Attempts != 0 || len(attempts) != 0 || d.Code != "cancelled" {
		t.Errorf("ended without an attempt: got %+v, %v", d, attempts)
	}
}

func sameAttempt(a, b storage.Attempt) bool {
	if !a.StartedAt.Equal(b.StartedAt) || !a.NextAttemptAt.Equal(b.NextAttemptAt) {
		return false
	}
	a.StartedAt, a.NextAttemptAt = b.StartedAt, b.NextAttemptAt
	return reflect.DeepEqual(a, b)
}

func testSettleUnknown(t *testing.T, h *harness) {
	id := h.one("a", "x")[0]
	beyond := id.Event().Delivery(1)
	for _, unknown := range []storage.DeliveryID{{}, beyond, storage.NewEventKey(1<<47, 1).Delivery(0)} {
		s := storage.Settlement{Delivery: unknown, Status: storage.StatusDelivered}
		wantError(t, "settling "+unknown.String(), h.Settle(h.Context(), []storage.Settlement{s}), storage.ErrNotFound)
		_, _, err := h.Delivery(h.Context(), unknown)
		wantError(t, "reading "+unknown.String(), err, storage.ErrNotFound)
		_, err = h.Replay(h.Context(), unknown)
		wantError(t, "replaying "+unknown.String(), err, storage.ErrNotFound)
	}
	known := storage.Settlement{Delivery: id, Status: storage.StatusDelivered}
	missing := storage.Settlement{Delivery: beyond, Status: storage.StatusDelivered}
	wantError(t, "settling one of two", h.Settle(h.Context(), []storage.Settlement{known, missing}), storage.ErrNotFound)
	if d, _ := h.delivery(id); d.Status != storage.StatusPending {
		t.Errorf("after a refused call: got %s, want pending", d.Status)
	}
	_, err := h.Event(h.Context(), storage.NewEventKey(1<<47, 1))
	wantError(t, "reading an unknown event", err, storage.ErrNotFound)
	_, _, err = h.EventByID(h.Context(), "unknown")
	wantError(t, "reading an unknown id", err, storage.ErrNotFound)
}

func testSettleConcurrent(t *testing.T, h *harness) {
	id := h.one("a", "x")[0]
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a := storage.Attempt{Number: i + 1, Verdict: "retry", Code: "timeout"}
			s := storage.Settlement{Delivery: id, Attempt: &a, Status: storage.StatusPending, NextAttemptAt: time.Now()}
			if err := h.Settle(h.Context(), []storage.Settlement{s}); err != nil {
				t.Errorf("settling: %v", err)
			}
		})
	}
	wg.Wait()
	d, attempts := h.delivery(id)
	if d.Attempts != 20 || len(attempts) != 20 {
		t.Errorf("got %d and %d attempts, want 20", d.Attempts, len(attempts))
	}
	if c := h.Pending()["x"].Count; c != 1 {
		t.Errorf("pending: got %d, want 1", c)
	}
}

func testDueOrder(t *testing.T, h *harness) {
	var ids []storage.DeliveryID
	for i := range 5 {
		ids = append(ids, h.one(fmt.Sprint("e", i), "other", "x")[1])
	}
	later := ids[4].Time().Add(time.Minute)
	at := func(i int, t time.Time) {
		h.settle(storage.Settlement{Delivery: ids[i], Status: storage.StatusPending, NextAttemptAt: t})
	}
	at(0, later)
	at(2, later)
	at(1, later.Add(-time.Second))
	at(2, later.Add(time.Second)) // the entry for its first time is stale
	h.settle(storage.Settlement{Delivery: ids[3], Status: storage.StatusDelivered})
	want := []storage.DeliveryID{ids[4], ids[1], ids[0], ids[2]}
	for _, limit := range []int{1, 2, 3, 10} {
		var got []storage.DeliveryID
		for _, d := range h.due("x", limit) {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: got %v, want %v", limit, got, want)
		}
	}
	at(2, time.UnixMilli(1_000))
	if got, err := h.Due(h.Context(), "x", storage.Position{}, 1); err != nil || len(got) != 1 || got[0].ID != ids[2] ||
		!got[0].At.Equal(time.UnixMilli(1_000)) {
		t.Errorf("tried now: got %v, %v, want %s", got, err, ids[2])
	}
	if got := h.due("unknown", 5); len(got) != 0 {
		t.Errorf("unknown endpoint: got %v, want nothing", got)
	}
}

func testDueModel(t *testing.T, h *harness) {
	rnd := rand.New(rand.NewPCG(1, 2))
	type entry struct {
		due      storage.Due
		endpoint string
	}
	model := map[storage.DeliveryID]*entry{}
	var ids []storage.DeliveryID
	base := time.Now()
	check := func() {
		t.Helper()
		for _, endpoint := range []string{"x", "y"} {
			var want []storage.Due
			for _, e := range model {
				if e.endpoint == endpoint {
					want = append(want, e.due)
				}
			}
			slices.SortFunc(want, func(a, b storage.Due) int {
				return cmp.Or(cmp.Compare(a.At.UnixMilli(), b.At.UnixMilli()), a.ID.Compare(b.ID))
			})
			got := h.due(endpoint, 1+rnd.IntN(20))
			if !slices.EqualFunc(got, want, func(a, b storage.Due) bool {
				return a.ID == b.ID && a.At.UnixMilli() == b.At.UnixMilli() && a.Attempts == b.Attempts
			}) {
				t.Fatalf("due of %s: got %v, want %v", endpoint, got, want)
			}
			if n := h.Pending()[endpoint].Count; n != len(want) {
				t.Fatalf("pending of %s: got %d, want %d", endpoint, n, len(want))
			}
		}
	}
	for i := range 400 {
		if len(ids) == 0 || rnd.IntN(3) == 0 {
			for j, id := range h.one(fmt.Sprint("e", i), "x", "y") {
				model[id] = &entry{due: storage.Due{ID: id, At: id.Time()}, endpoint: []string{"x", "y"}[j]}
				ids = append(ids, id)
			}
			continue
		}
		id := ids[rnd.IntN(len(ids))]
		e := model[id]
		if e == nil {
			continue
		}
		if rnd.IntN(4) == 0 {
			h.settle(storage.Settlement{Delivery: id, Attempt: &storage.Attempt{Number: e.due.Attempts + 1}, Status: storage.StatusFailed})
			delete(model, id)
		} else {
			at := base.Add(time.Duration(rnd.IntN(60_000)-20_000) * time.Millisecond)
			h.settle(storage.Settlement{
				Delivery: id, Attempt: &storage.Attempt{Number: e.due.Attempts + 1}, Status: storage.StatusPending, NextAttemptAt: at,
			})
			e.due.At = at
			e.due.Attempts++
		}
		if i%40 == 0 {
			check()
		}
	}
	check()
	h.reopen()
	check()
}

func testPending(t *testing.T, h *harness) {
	first := h.one("a", "x", "y")
	second := h.one("b", "x")
	got := h.Pending()
	if len(got) != 2 || got["x"].Count != 2 || got["y"].Count != 1 || h.Usage().Pending != 3 {
		t.Errorf("got %v and %d, want x 2, y 1", got, h.Usage().Pending)
	}
	if got["x"].Oldest.After(first[0].Time()) {
		t.Errorf("oldest of x: got %v, want at most %v", got["x"].Oldest, first[0].Time())
	}
	for _, id := range append(first, second...) {
		h.settle(storage.Settlement{Delivery: id, Status: storage.StatusDelivered})
	}
	if got := h.Pending(); len(got) != 0 || h.Usage().Pending != 0 {
		t.Errorf("after all were settled: got %v and %d, want none", got, h.Usage().Pending)
	}
}
