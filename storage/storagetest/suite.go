// Package storagetest holds the conformance suite that every engine of the
// outbox passes, and an in-memory outbox for the tests of what is built on
// one.
package storagetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/promptreports/caddy-webhooks/storage"
)

// Open opens one outbox or, when it was opened before and closed since, opens
// it again with all that was in it.
type Open func() storage.Outbox

// Run runs the suite. newOutbox prepares an empty outbox, which the returned
// function opens; the suite closes it.
func Run(t *testing.T, newOutbox func(t testing.TB) Open) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h *harness)
	}{
		{"AcceptAnswers", testAcceptAnswers},
		{"AcceptKeepsNothingOfTheCaller", testAcceptKeepsNothing},
		{"AcceptBatchIsAtomic", testBatchAtomic},
		{"AcceptDuplicateInBatch", testDuplicateInBatch},
		{"AcceptDigest", testDigest},
		{"AcceptRacing", testRacing},
		{"AcceptCancelled", testCancelled},
		{"AcceptLongBodies", testLongBodies},
		{"AcceptManyEndpoints", testManyEndpoints},
		{"TestEvents", testTestEvents},
		{"SettleAttempts", testSettleAttempts},
		{"SettleUnknown", testSettleUnknown},
		{"SettleConcurrent", testSettleConcurrent},
		{"DueOrder", testDueOrder},
		{"DueAgainstModel", testDueModel},
		{"Pending", testPending},
		{"Replay", testReplay},
		{"ListAgainstModel", testListModel},
		{"ListCursor", testCursors},
		{"EndpointStates", testEndpointStates},
		{"Reopen", testReopen},
		{"Closed", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := &harness{TB: t, open: newOutbox(t)}
			h.Outbox = h.open()
			defer func() {
				if err := h.Outbox.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			}()
			test.run(t, h)
		})
	}
}

// harness is the outbox of one test.
type harness struct {
	testing.TB
	storage.Outbox
	open Open
}

// reopen closes the outbox and opens it again.
func (h *harness) reopen() {
	h.Helper()
	if err := h.Outbox.Close(); err != nil {
		h.Fatalf("closing: %v", err)
	}
	h.Outbox = h.open()
}

// accept stores events that must be accepted.
func (h *harness) accept(events ...storage.NewEvent) []storage.Accepted {
	h.Helper()
	got, err := h.Accept(h.Context(), events)
	if err != nil {
		h.Fatalf("accepting: %v", err)
	}
	if len(got) != len(events) {
		h.Fatalf("accepting: got %d answers, want %d", len(got), len(events))
	}
	return got
}

// one stores one event and returns the ids of its deliveries.
func (h *harness) one(id string, endpoints ...string) []storage.DeliveryID {
	h.Helper()
	key := h.accept(event(id, endpoints...))[0].Key
	ids := make([]storage.DeliveryID, len(endpoints))
	for i := range ids {
		ids[i] = key.Delivery(i)
	}
	return ids
}

func (h *harness) settle(settlements ...storage.Settlement) {
	h.Helper()
	if err := h.Settle(h.Context(), settlements); err != nil {
		h.Fatalf("settling: %v", err)
	}
}

func (h *harness) delivery(id storage.DeliveryID) (*storage.Delivery, []storage.Attempt) {
	h.Helper()
	d, attempts, err := h.Delivery(h.Context(), id)
	if err != nil {
		h.Fatalf("reading delivery %s: %v", id, err)
	}
	return d, attempts
}

// due pages through all that is due.
func (h *harness) due(endpoint string, limit int) (all []storage.Due) {
	h.Helper()
	var after storage.Position
	for {
		page, err := h.Due(h.Context(), endpoint, after, limit)
		if err != nil {
			h.Fatalf("reading what is due: %v", err)
		}
		if len(page) > limit {
			h.Fatalf("due: got %d deliveries, want at most %d", len(page), limit)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		last := page[len(page)-1]
		after = storage.Position{At: last.At, ID: last.ID}
	}
}

// list pages through a listing.
func (h *harness) list(f storage.Filter, limit int) (all []storage.Delivery) {
	h.Helper()
	req := storage.PageRequest{Limit: limit}
	for {
		page, err := h.List(h.Context(), f, req)
		if err != nil {
			h.Fatalf("listing %+v: %v", f, err)
		}
		if len(page.Deliveries) > limit {
			h.Fatalf("listing: got %d deliveries, want at most %d", len(page.Deliveries), limit)
		}
		all = append(all, page.Deliveries...)
		if page.Next == "" {
			return all
		}
		req.Cursor = page.Next
	}
}

func event(id string, endpoints ...string) storage.NewEvent {
	return storage.NewEvent{
		ID: id, Type: "prompt.created", Body: fmt.Appendf(nil, `{"id":%q}`, id), Endpoints: endpoints,
	}
}

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}
