package delivery

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"120": 120 * time.Second, "0": 0, "1": time.Second, "007": 7 * time.Second,
		"3600": time.Hour, "3601": time.Hour, "10000000000000000000": time.Hour,
		strings.Repeat("9", 64): time.Hour, strings.Repeat("9", 65): 0, strings.Repeat("1", 1<<20): 0,
		"Sun, 01 Mar 2026 12:02:00 GMT":  2 * time.Minute,
		"Sun, 01 Mar 2026 14:00:00 GMT":  time.Hour,
		"Sun, 01 Mar 2026 12:00:00 GMT":  0,
		"Sun, 01 Mar 2026 11:00:00 GMT":  0,
		"Sunday, 01-Mar-26 12:02:00 GMT": 0, "Sun Mar  1 12:02:00 2026": 0,
		"2026-03-01T12:02:00Z": 0, "Sun, 01 Mar 2026 12:02:00 +0000": 0,
		"": 0, "-1": 0, "+1": 0, "1.5": 0, "1e30": 0, "inf": 0, "NaN": 0, " 5": 0, "5 ": 0, "5s": 0, "0x10": 0, "٥": 0,
	}
	for value, want := range tests {
		if got := retryAfter(503, http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("Retry-After %.40q: got %s, want %s", value, got, want)
		}
	}
	five := http.Header{"Retry-After": {"1", "2", "3", "4", "5"}}
	if got, want := retryAfter(429, five, now), time.Second; got != want {
		t.Errorf("five headers: got %s, want the first, %s", got, want)
	}
	for _, status := range []int{200, 301, 404, 500, 502} {
		if got := retryAfter(status, five, now); got != 0 {
			t.Errorf("status %d: got %s, want 0", status, got)
		}
	}
	if got := retryAfter(503, nil, now); got != 0 {
		t.Errorf("no header: got %s, want 0", got)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "", "-1", "1e30", "Sun, 01 Mar 2026 12:02:00 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := retryAfter(503, http.Header{"Retry-After": {value}}, time.Now())
		if got < 0 || got > maxRetryAfter {
			t.Errorf("Retry-After %q: got %s, want 0 to %s", value, got, maxRetryAfter)
		}
	})
}
