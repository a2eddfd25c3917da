package main

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestFollow has a subject become slower, and as fast as before: the rate
// follows, and is 80 % of what the subject can do at the time, but never more
// than at first.
func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ld := load{rate: 600, duration: 4500 * time.Millisecond, follow: time.Second}
		l := newLedger(1, 1, 1)
		ticks := make(chan time.Time)
		var each atomic.Int64 // what the subject takes for an event
		each.Store(int64(time.Millisecond))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range ticks {
				time.Sleep(time.Duration(each.Load()))
				l.complete.Add(1)
			}
		}()
		time.AfterFunc(1500*time.Millisecond, func() { each.Store(int64(4 * time.Millisecond)) })
		time.AfterFunc(3500*time.Millisecond, func() { each.Store(int64(time.Millisecond)) })
		if err := ld.ticker(ticks, l).run(t.Context()); err != nil {
			t.Fatalf("sending: %v", err)
		}
		close(ticks)
		<-done
		near := func(a, b int) int {
			if a >= b*9/10 && a <= b*11/10 {
				return 0
			}
			return a - b
		}
		if want := []int{600, 200, 200, 600}; slices.CompareFunc(l.rates, want, near) != 0 {
			t.Errorf("got the rates %v, want about %v", l.rates, want)
		}
		for i, b := range l.bursts {
			if from := time.Duration(i+1) * time.Second; b.from < from || b.from > from+200*time.Millisecond || b.to < b.from+ld.burstEffect() {
				t.Errorf("burst %d: got %v, want it after %v and %v long", i, b, from, ld.burstEffect())
			}
		}
		if len(l.bursts) != len(l.rates) {
			t.Errorf("got %d bursts, want %d", len(l.bursts), len(l.rates))
		}
	})
}
