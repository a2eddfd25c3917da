package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestInsist has a subject refuse an event, and cut a connection; both are
// posted again, as the same event.
func TestInsist(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	seen := make(chan string, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading the event: %v", err)
		}
		_, seq, _ := parseEvent(body)
		if !bytes.Contains(body, []byte(`"shard":"07"`)) {
			t.Errorf("got %s, want shard 07", body)
		}
		seen <- strings.Repeat("x", seq)
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusOK) // a duplicate
		}
	}))
	t.Cleanup(srv.Close)
	l := newLedger(1, 8, 1)
	s, err := newSender(t.Context(), strings.TrimPrefix(srv.URL, "http://"), http.StatusAccepted, l)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.conn.Close() }()
	s.insist = true
	if err := s.deliver(t.Context(), 7, time.Time{}); err != nil {
		t.Fatalf("got %v, want it accepted in the end", err)
	}
	if got := l.again.Load(); got != 2 || len(seen) != 3 {
		t.Errorf("got %d repeats and %d posts, want 2 and 3", got, len(seen))
	}
	for range 3 {
		if got := len(<-seen); got != 7 {
			t.Errorf("got event %d, want 7", got)
		}
	}
	s.insist = false
	if err := s.deliver(t.Context(), 7, time.Time{}); err == nil {
		t.Error("without insisting: got no error for status 200, want one")
	}
}
