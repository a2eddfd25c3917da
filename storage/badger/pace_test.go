package badger

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// TestPackingRests compares how long work takes with and without rests.
func TestPackingRests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		step  time.Duration
		hurry bool
		rests time.Duration // in twice paceSteps steps
	}{
		{"short stretches", stretch / paceSteps, false, 2 * restShare * stretch},
		{"long ones", longRest, false, 2 * longRest},
		{"in a hurry", longRest, true, 0},
		{"before a stretch has passed", stretch / paceSteps / 3, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var hurry atomic.Bool
				hurry.Store(test.hurry)
				p := newPace(&hurry)
				began := time.Now()
				for range 2 * paceSteps {
					time.Sleep(test.step) // the work, by the bubble's clock
					p.step()
				}
				if got := time.Since(began) - 2*paceSteps*test.step; got != test.rests {
					t.Errorf("rests: got %v, want %v", got, test.rests)
				}
			})
		})
	}
}

// TestPackingStepsThroughAll shows that packing comes to its rests wherever it
// has much to do.
func TestPackingStepsThroughAll(t *testing.T) {
	t.Parallel()
	for name, settleAll := range map[string]func(t *testing.T, o *Outbox, id storage.DeliveryID){
		"delivered": func(t *testing.T, o *Outbox, id storage.DeliveryID) { settle(t, o, id, storage.StatusDelivered) },
		"failed":    func(t *testing.T, o *Outbox, id storage.DeliveryID) { settle(t, o, id, storage.StatusFailed) },
		"pending":   func(t *testing.T, o *Outbox, id storage.DeliveryID) { reschedule(t, o, id, 1, time.Now(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 100
			o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
			for i := range n {
				settleAll(t, o, acceptBody(t, o, counted("event", i), nil, "x").Delivery(0))
			}
			s := sealActive(t, o)
			if err := os.Mkdir(s.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			x := &s.journal.index
			p := packer{o: o, s: s, journal: s.journal, pace: newPace(&o.hurry), tables: newTableWriter(s.dir, o.mayWriteTables)}
			defer p.tables.release()
			p.log.log = s.journal.log
			for _, kind := range []struct {
				name  string
				write func(*index) error
				has   bool
			}{
				{"attempts", p.attempts, name == "pending"}, // otherwise it is in the delivery
				{"deliveries", p.deliveries, true},
				{"events", p.events, true},
				{"failed", p.failed, name == "failed"},
				{"ids", p.ids, true},
				{"due", p.due, name == "pending"},
				{"types", p.types, true},
				{"endpoints", p.endpoints, true},
			} {
				before := p.pace.steps
				if err := kind.write(x); err != nil {
					t.Fatalf("%s: %v", kind.name, err)
				}
				if steps := p.pace.steps - before; kind.has && steps < n {
					t.Errorf("%s: got %d steps, want %d at least", kind.name, steps, n)
				}
			}
		})
	}
}

// TestPackingHurries shows that packing does not rest while another segment
// waits, or Close.
func TestPackingHurries(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	acceptBody(t, o, "a", nil, "x")
	first := sealActive(t, o)
	acceptBody(t, o, "b", nil, "x")
	second := sealActive(t, o)
	o.packing.Store(first)
	if !o.startPacking(first) || o.hurry.Load() {
		t.Error("with one segment to pack: got hurry, want none")
	}
	if !o.startPacking(second) || !o.hurry.Load() {
		t.Error("with two segments to pack: got no hurry, want it")
	}
	o.packing.Store(nil)
	if !o.startPacking(second) || o.hurry.Load() || formOf(second) == "journal" {
		t.Errorf("when the second is packed: got hurry: %t, it is a %s; want no hurry, and a database", o.hurry.Load(), formOf(second))
	}
	if err := o.Close(); err != nil || !o.hurry.Load() {
		t.Errorf("when the outbox is closed: got %v, hurry: %t, want it", err, o.hurry.Load())
	}
}

// TestPackingHurriesNotForTheRest packs as many journals as are too many, and
// does not hurry because of those that may stay, in which something is pending.
func TestPackingHurriesNotForTheRest(t *testing.T) {
	t.Parallel()
	lim := quiet()
	lim.journals = 2
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: lim})
	var journals []*segment
	for i := range 3 {
		acceptBody(t, o, counted("event", i), nil, "x")
		journals = append(journals, sealActive(t, o))
	}
	o.packing.Store(journals[0])
	if o.tidy(); o.hurry.Load() {
		t.Error("with one journal too many: got hurry, want none")
	}
	acceptBody(t, o, "one more", nil, "x")
	sealActive(t, o)
	if o.tidy(); !o.hurry.Load() {
		t.Error("with two too many: got no hurry, want it")
	}
	o.packing.Store(nil)
	o.tidy()
	for i, s := range journals {
		if packed, want := formOf(s) != "journal", i < 2; packed != want {
			t.Errorf("journal %d: got it packed: %t, want %t", i, packed, want)
		}
	}
}
