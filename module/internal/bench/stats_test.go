package main

import (
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	values := make([]time.Duration, 200) // 200 … 1
	for i := range values {
		values[i] = time.Duration(200 - i)
	}
	tests := []struct {
		p    float64
		want time.Duration
	}{{0, 1}, {50, 100}, {99, 198}, {99.9, 200}, {100, 200}}
	for _, tt := range tests {
		if got := percentile(values, tt.p); got != tt.want {
			t.Errorf("p%v: got %d, want %d", tt.p, got, tt.want)
		}
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: got %d, want 0", got)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("got %v, want 5", got)
	}
	if got := median([]float64{4, 1, 2, 9}); got != 3 {
		t.Errorf("got %v, want 3", got)
	}
}
