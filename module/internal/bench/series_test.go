package main

import (
	"slices"
	"testing"
	"time"
)

func TestStall(t *testing.T) {
	t.Parallel()
	// They end at 7, 12, 30 and 31, in another order than they began.
	samples := []sample{{10, 20}, {5, 2}, {6, 6}, {30, 1}}
	if got := stall(samples); got != 18 {
		t.Errorf("got %d, want 18", got)
	}
	if got := stall(samples[:1]); got != 0 {
		t.Errorf("of one: got %d, want 0", got)
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	samples := []sample{{1, 10}, {2, 20}, {3, 30}, {4, 40}}
	if got, want := between(samples, 2, 4), []time.Duration{20, 30}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAttribute(t *testing.T) {
	t.Parallel()
	reloads := []span{{100, 110}, {200, 210}}
	tests := []struct {
		name   string
		double double
		want   int
	}{
		{"before any", double{10, 20}, 0},
		{"first arrival at a reload", double{105, 150}, 1},
		{"again at a reload", double{50, 200}, 1},
		{"around a reload", double{99, 110}, 0},
		{"of another run, at a reload", double{0, 209}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := attribute([]double{tt.double}, reloads); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestAhead(t *testing.T) {
	t.Parallel()
	order := []int{1, 0, 2, 7, 3}
	if got := ahead(order, 10); got != 4 {
		t.Errorf("got %d, want 4: the event 7 came fourth", got)
	}
	if got := ahead(order, 3); got != 1 {
		t.Errorf("of the first three: got %d, want 1", got)
	}
}

func TestLedgerSeries(t *testing.T) {
	t.Parallel()
	l := newLedger(1, 3, 2)
	for seq := range 2 {
		l.sent[seq], l.answered[seq] = int64(100*(seq+1)), int64(100*(seq+1)+10)
	}
	l.arrived[0].Store(150) // event 0 at both endpoints
	l.arrived[1].Store(130)
	l.arrived[2].Store(120) // event 1 at the first
	answers, arrivals := l.samples()
	if want := []sample{{100, 10}, {200, 10}}; !slices.Equal(answers, want) {
		t.Errorf("answers: got %v, want %v", answers, want)
	}
	if want := []sample{{100, 50}}; !slices.Equal(arrivals, want) {
		t.Errorf("arrivals: got %v, want %v", arrivals, want)
	}
	if got, want := l.order(), []int{1, 0}; !slices.Equal(got, want) {
		t.Errorf("order: got %v, want %v", got, want)
	}
	if got, want := l.each(), []time.Duration{50, 30, -80}; !slices.Equal(got, want) {
		t.Errorf("each: got %v, want %v", got, want)
	}
}

// TestOutside sees that only what began in a span is left out.
func TestOutside(t *testing.T) {
	t.Parallel()
	samples := []sample{{at: 0, took: 5}, {at: 1}, {at: 2}, {at: 3}, {at: 4}, {at: 5}}
	got := outside(samples, []span{{1, 2}, {3, 5}})
	if want := []sample{{at: 0, took: 5}, {at: 2}, {at: 5}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
