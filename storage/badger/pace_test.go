package badger

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPackingRests compares how long work takes with and without rests.
func TestPackingRests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		step  time.Duration
		hurry bool
		rests time.Duration // in paceSteps steps
	}{
		{"short stretches", stretch / paceSteps, false, restShare * stretch},
		{"long ones", longRest, false, longRest},
		{"in a hurry", longRest, true, 0},
		{"before a stretch has passed", stretch / paceSteps / 2, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var hurry atomic.Bool
				hurry.Store(test.hurry)
				p := newPace(&hurry)
				began := time.Now()
				for range paceSteps {
					time.Sleep(test.step) // the work, by the bubble's clock
					p.step()
				}
				if got := time.Since(began) - paceSteps*test.step; got != test.rests {
					t.Errorf("rests: got %v, want %v", got, test.rests)
				}
			})
		})
	}
}

// TestPackingHurries shows that nothing waits for what packs to have rested.
func TestPackingHurries(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	acceptBody(t, o, "a", nil, "x")
	first := sealActive(t, o)
	acceptBody(t, o, "b", nil, "x")
	second := sealActive(t, o)
	o.packing.Store(first)
	if o.startPacking(first); o.hurry.Load() {
		t.Error("with one segment to pack: got hurry, want none")
	}
	if o.startPacking(second); !o.hurry.Load() {
		t.Error("with two segments to pack: got no hurry, want it")
	}
	o.packing.Store(nil)
	if o.startPacking(second); o.hurry.Load() || formOf(second) == "journal" {
		t.Errorf("when the second is packed: got hurry: %t, it is a %s; want no hurry, and a database", o.hurry.Load(), formOf(second))
	}
	if err := o.Close(); err != nil || !o.hurry.Load() {
		t.Errorf("when the outbox is closed: got %v, hurry: %t, want it", err, o.hurry.Load())
	}
}
