package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// forwarder is a subject of the test's own: it answers with a status and
// posts each event on to the receiver as often as copies says.
func forwarder(t *testing.T, rc *receiver, status int, copies func(n int64) int) string {
	t.Helper()
	var n atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading the event: %v", err)
		}
		for range copies(n.Add(1)) {
			resp, err := client.Post("http://"+rc.addr()+"/0", "application/json", strings.NewReader(string(body)))
			if err != nil {
				t.Errorf("forwarding: %v", err)
				continue
			}
			resp.Body.Close()
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(func() {
		srv.Close()
		client.CloseIdleConnections()
	})
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestLoadCounts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		load          load
		copies        func(n int64) int
		lost, doubled bool
	}{
		{"closed loop, all arrive once", load{senders: 4, duration: 100 * time.Millisecond}, func(int64) int { return 1 }, false, false},
		{"open loop, all arrive once", load{senders: 4, duration: 100 * time.Millisecond, rate: 200}, func(int64) int { return 1 }, false, false},
		{"a load that follows, all arrive once", load{
			senders: 4, duration: 100 * time.Millisecond, rate: 60_000, patient: true, follow: 20 * time.Millisecond,
		}, func(int64) int { return 1 }, false, false},
		{"one is lost", load{senders: 2, duration: 50 * time.Millisecond}, func(n int64) int {
			if n == 3 {
				return 0
			}
			return 1
		}, true, false},
		{"one is doubled", load{senders: 2, duration: 50 * time.Millisecond}, func(n int64) int {
			if n == 3 {
				return 2
			}
			return 1
		}, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rc, err := listen()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(rc.close)
			addr := forwarder(t, rc, http.StatusAccepted, tt.copies)
			l := newLedger(7, 2*tt.load.capacity(), 1)
			rc.ledger.Store(l)
			for l.next.Load() < 3 { // twice on a machine that is very slow
				if err := tt.load.send(t.Context(), addr, http.StatusAccepted, l); err != nil {
					t.Fatalf("send: %v", err)
				}
			}
			got := l.tally()
			if got.accepted < 3 || got.elapsed <= 0 || len(got.answers) != got.accepted {
				t.Errorf("got %d accepted with %d answers in %s, want some", got.accepted, len(got.answers), got.elapsed)
			}
			if (got.lost == 1) != tt.lost || (got.lost != 0) != tt.lost {
				t.Errorf("got %d lost, want %t", got.lost, tt.lost)
			}
			if (got.doubled == 1) != tt.doubled || (got.doubled != 0) != tt.doubled {
				t.Errorf("got %d doubled, want %t", got.doubled, tt.doubled)
			}
			if want := got.accepted - got.lost; len(got.arrivals) != want {
				t.Errorf("got %d arrivals, want %d", len(got.arrivals), want)
			}
			if n := rc.broken.Load(); n != 0 {
				t.Errorf("got %d requests that are no event, want 0", n)
			}
		})
	}
}

func TestLoadRefused(t *testing.T) {
	t.Parallel()
	rc, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rc.close)
	addr := forwarder(t, rc, http.StatusServiceUnavailable, func(int64) int { return 0 })
	ld := load{senders: 2, duration: time.Second}
	err = ld.send(t.Context(), addr, http.StatusAccepted, newLedger(1, ld.capacity(), 1))
	if err == nil || !strings.Contains(err.Error(), "got status 503, want 202") {
		t.Errorf("got error %v, want the status", err)
	}
}

func TestLoadCancelled(t *testing.T) {
	t.Parallel()
	rc, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rc.close)
	ctx, cancel := context.WithCancel(t.Context())
	addr := forwarder(t, rc, http.StatusAccepted, func(n int64) int {
		if n == 10 {
			cancel()
		}
		return 0
	})
	ld := load{senders: 2, duration: time.Minute}
	err = ld.send(ctx, addr, http.StatusAccepted, newLedger(1, ld.capacity(), 1))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestLedgerFanOut(t *testing.T) {
	t.Parallel()
	l := newLedger(2, 10, 3)
	l.sent[0], l.answered[0] = 1, 2
	for _, endpoint := range []int{0, 2} {
		l.arrive(2, 0, endpoint)
	}
	if got := l.tally(); got.lost != 1 || l.complete.Load() != 0 {
		t.Errorf("with two of three endpoints: got %d lost and %d complete, want 1 and 0", got.lost, l.complete.Load())
	}
	l.arrive(2, 0, 1)
	l.arrive(1, 0, 1)  // an earlier run
	l.arrive(2, 99, 1) // never sent
	if got := l.tally(); got.lost != 0 || got.doubled != 2 || l.complete.Load() != 1 {
		t.Errorf("got %d lost, %d doubled, %d complete, want 0, 2, 1", got.lost, got.doubled, l.complete.Load())
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	event := appendEvent(nil, 12, 345)
	if len(event) != eventSize {
		t.Errorf("got %d bytes, want %d", len(event), eventSize)
	}
	if !json.Valid(event) {
		t.Errorf("not JSON: %s", event)
	}
	at := len(idPrefix) + runDigits
	putDigits(event[at:at+seqDigits], 678)
	if run, seq, ok := parseEvent(event); run != 12 || seq != 678 || !ok {
		t.Errorf("got run %d, event %d, %t, want 12, 678, true", run, seq, ok)
	}
	for _, bad := range []string{"", `{"id":"wh_evt_`, `{"id":"wh_evt_00120000x00345"}`, `{"id":"other"}`} {
		if _, _, ok := parseEvent([]byte(bad)); ok {
			t.Errorf("parsing %q: got ok, want not", bad)
		}
	}
}
