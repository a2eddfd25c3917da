package event

import (
	"slices"
	"testing"
	"time"
)

func TestNewID(t *testing.T) {
	t.Parallel()
	start := time.Date(2024, 1, 15, 10, 30, 0, 0, time.UTC)
	var ids []string
	for i := range 1000 {
		id := NewID(start.Add(time.Duration(i) * time.Millisecond))
		if len(id) != len(idPrefix)+26 || !validID([]byte(id)) {
			t.Fatalf("got id %q, want a prefix and 26 digits", id)
		}
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) {
		t.Error("got ids out of order, want them sorted by time")
	}
	seen := map[string]bool{}
	for range 10_000 {
		seen[NewID(start)] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("got %d different ids of one millisecond, want 10000", len(seen))
	}
}
