package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// packing holds what packs in the middle of it.
type packing struct {
	begun, goOn chan struct{}
	err         error
	calls       int
}

func holdPacking(opt *Options) *packing {
	p := &packing{begun: make(chan struct{}), goOn: make(chan struct{})}
	opt.packHook = func() error {
		// First comes a table, then the manifest.
		if p.calls++; p.calls != 2 {
			return nil
		}
		close(p.begun)
		<-p.goOn
		return p.err
	}
	return p
}

// during packs the segment and runs f in the middle of it.
func (p *packing) during(o *Outbox, s *segment, f func()) error {
	done := make(chan error, 1)
	go func() { done <- o.pack(s) }()
	select {
	case err := <-done:
		return fmt.Errorf("ended before the middle: %w", err)
	case <-p.begun:
	}
	f()
	close(p.goOn)
	return <-done
}

// someOfAll accepts events of which some deliveries are settled in every way,
// and some are left for later.
func someOfAll(t *testing.T, o *Outbox) (ids []storage.DeliveryID) {
	t.Helper()
	body := bytes.Repeat([]byte("body "), 1000)
	for i := range 20 {
		ids = append(ids, acceptBody(t, o, counted("event", i), body, "x").Delivery(0))
	}
	at := ids[0].Time().Add(time.Hour)
	settle(t, o, ids[0], storage.StatusDelivered)
	settle(t, o, ids[1], storage.StatusFailed)
	settle(t, o, ids[2], storage.StatusCancelled)
	reschedule(t, o, ids[3], 1, at, nil)
	reschedule(t, o, ids[3], 2, at.Add(time.Hour), nil)
	return ids
}

// TestSettleDuringPacking settles after all records were read for the tables:
// that has to be copied, and be there after the change-over.
func TestSettleDuringPacking(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		tail  int // bytes of excerpts settled meanwhile
		twice bool
	}{
		{"a little", 0, false},
		{"more than the last step copies", 2 * packTail, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			opt := Options{limits: quiet()}
			hold := holdPacking(&opt)
			o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
			ids := someOfAll(t, o)
			s := sealActive(t, o)
			at := ids[0].Time().Add(3 * time.Hour)
			err := hold.during(o, s, func() {
				settle(t, o, ids[10], storage.StatusDelivered)
				settle(t, o, ids[11], storage.StatusFailed)
				reschedule(t, o, ids[12], 1, at, nil)
				reschedule(t, o, ids[3], 3, at.Add(time.Hour), nil)
				for i := range test.tail / 1024 {
					reschedule(t, o, ids[13], i+1, at, make([]byte, 1024))
				}
				settle(t, o, ids[1], storage.StatusDelivered) // again, after it had failed
				if got := formOf(s); got != "journal" {
					t.Errorf("during packing: got the form %s, want the journal", got)
				}
			})
			if err != nil || formOf(s) != "closed" || exists(t, s.logPath()) {
				t.Fatalf("packing: got %v, form %s", err, formOf(s))
			}
			for range 2 {
				wantDelivery(t, o, ids[0], storage.StatusDelivered, 0)
				wantDelivery(t, o, ids[1], storage.StatusDelivered, 0)
				wantDelivery(t, o, ids[10], storage.StatusDelivered, 0)
				wantDelivery(t, o, ids[11], storage.StatusFailed, 0)
				wantDelivery(t, o, ids[12], storage.StatusPending, 1)
				wantDelivery(t, o, ids[3], storage.StatusPending, 3)
				wantDelivery(t, o, ids[13], storage.StatusPending, test.tail/1024)
				due, err := o.Due(t.Context(), "x", storage.Position{At: at.Add(time.Minute)}, 10)
				if err != nil || len(due) != 1 || due[0].ID != ids[3] {
					t.Errorf("due: got %v, %v, want the one that was rescheduled last", due, err)
				}
				page, err := o.List(t.Context(), storage.Filter{Endpoints: []string{"x"}, Status: storage.StatusFailed}, storage.PageRequest{Limit: 9})
				if err != nil || len(page.Deliveries) != 1 || page.Deliveries[0].ID != ids[11] {
					t.Errorf("failed ones: got %v, %v, want the one that failed meanwhile", page, err)
				}
				o = reopen(t, o, Options{limits: quiet()})
			}
		})
	}
}

// TestPackingGivesUp fails packing in the middle: the journal goes on, and
// packing can be begun again.
func TestPackingGivesUp(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	hold := holdPacking(&opt)
	hold.err = errors.New("input/output error")
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	ids := someOfAll(t, o)
	s := sealActive(t, o)
	err := hold.during(o, s, func() { settle(t, o, ids[10], storage.StatusDelivered) })
	if !errors.Is(err, hold.err) || formOf(s) != "journal" || exists(t, s.dir) {
		t.Errorf("got error %v, the form %s and a directory %t; want the cause, the journal, and none", err, formOf(s), exists(t, s.dir))
	}
	settle(t, o, ids[11], storage.StatusDelivered)
	packSegment(t, o, s)
	o = reopen(t, o, Options{limits: quiet()})
	wantDelivery(t, o, ids[10], storage.StatusDelivered, 0)
	wantDelivery(t, o, ids[11], storage.StatusDelivered, 0)
	wantDelivery(t, o, ids[3], storage.StatusPending, 2)
}

// TestPackedMeanwhile has the housekeeper begin to pack a segment that was
// packed since it looked: it must not begin by removing the database.
func TestPackedMeanwhile(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	ids := someOfAll(t, o)
	s := packActive(t, o)
	o.startPacking(s)
	settle(t, o, ids[10], storage.StatusDelivered)
	o = reopen(t, o, Options{limits: quiet()})
	wantDelivery(t, o, ids[10], storage.StatusDelivered, 0)
	wantDelivery(t, o, ids[3], storage.StatusPending, 2)
}

// TestCloseDuringPacking does not wait for packing to end, and loses nothing.
func TestCloseDuringPacking(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	opt.limits.tick, opt.limits.drain = time.Millisecond, 1
	hold := holdPacking(&opt)
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	ids := someOfAll(t, o)
	o.houseMu.Lock()
	s := sealActive(t, o)
	o.houseMu.Unlock()
	o.wakeHousekeeper()
	<-hold.begun
	settle(t, o, ids[10], storage.StatusDelivered)
	go func() {
		<-o.stop
		close(hold.goOn)
	}()
	o = reopen(t, o, Options{limits: quiet()})
	if exists(t, s.dir) || !exists(t, s.logPath()) {
		t.Errorf("got a directory %t and a journal %t, want only the journal", exists(t, s.dir), exists(t, s.logPath()))
	}
	wantDelivery(t, o, ids[10], storage.StatusDelivered, 0)
	wantDelivery(t, o, ids[3], storage.StatusPending, 2)
}

// TestKillDuringPacking opens what a kill leaves at every stage of packing.
func TestKillDuringPacking(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	hold := holdPacking(&opt)
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	ids := someOfAll(t, o)
	s := sealActive(t, o)
	accept(t, o, "in the next segment", "y")
	var middle string
	err := hold.during(o, s, func() {
		settle(t, o, ids[10], storage.StatusDelivered)
		middle = copyOf(t, o)
		if tables, _ := filepath.Glob(filepath.Join(middle, segmentsDir, segmentName(s.n), "*")); len(tables) == 0 {
			t.Error("nothing was packed in the middle of packing")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	after := copyOf(t, o)
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		form string
	}{
		{"in the middle", func(t *testing.T, dir string) { overlay(t, dir, middle) }, "journal"},
		{"tables complete, state not written", func(t *testing.T, dir string) {
			overlay(t, dir, middle)
			removeAll(t, filepath.Join(dir, segmentsDir, segmentName(s.n)))
			overlay(t, dir, after, segmentsDir, segmentName(s.n))
		}, "journal"},
		{"state written, journal not removed", func(t *testing.T, dir string) {
			overlay(t, dir, after)
			overlay(t, dir, middle, segmentsDir, segmentName(s.n)+logSuffix)
		}, "open"},
		{"journal removed", func(t *testing.T, dir string) { overlay(t, dir, after) }, "open"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "outbox")
			test.make(t, dir)
			again := open(t, dir, Options{limits: quiet()})
			wantWhole(t, again)
			s := (*again.segments.Load())[0]
			if got := formOf(s); got != test.form {
				t.Errorf("got the form %s, want %s", got, test.form)
			}
			if log, db := exists(t, s.logPath()), exists(t, s.dir); log == db {
				t.Errorf("got a journal %t and a database %t, want one of them", log, db)
			}
			wantDelivery(t, again, ids[10], storage.StatusDelivered, 0)
			wantDelivery(t, again, ids[1], storage.StatusFailed, 0)
			wantDelivery(t, again, ids[3], storage.StatusPending, 2)
			settle(t, again, ids[11], storage.StatusDelivered)
			if !s.isPacked() {
				packSegment(t, again, s)
			}
			again = reopen(t, again, Options{limits: quiet()})
			for _, i := range []int{0, 10, 11} {
				wantDelivery(t, again, ids[i], storage.StatusDelivered, 0)
			}
			if n := again.Usage().Pending; n != 16 {
				t.Errorf("pending: got %d, want 16", n)
			}
		})
	}
}

// TestKillDuringRemoval opens what a kill leaves while a segment is removed.
func TestKillDuringRemoval(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{Now: c.Now, limits: quiet()})
	packed := accept(t, o, "packed", "x")
	settle(t, o, packed.Delivery(0), storage.StatusDelivered)
	packActive(t, o)
	journal := accept(t, o, "journal", "x")
	settle(t, o, journal.Delivery(0), storage.StatusDelivered)
	sealActive(t, o)
	last := accept(t, o, "last", "x")
	before := copyOf(t, o)
	for _, s := range (*o.segments.Load())[:2] {
		if err := o.remove(s); err != nil {
			t.Fatal(err)
		}
	}
	after := copyOf(t, o)
	if left, err := os.ReadDir(filepath.Join(after, segmentsDir)); err != nil || len(left) != 1 {
		t.Fatalf("after removal: got %v, %v, want one segment", left, err)
	}
	for i, part := range [][]string{
		{segmentName(1), segmentName(2) + logSuffix},
		{segmentName(1)},
		{},
	} {
		dir := filepath.Join(t.TempDir(), "outbox")
		overlay(t, dir, after)
		for _, name := range part {
			overlay(t, dir, before, segmentsDir, name)
		}
		if i == 1 {
			was := filepath.Join(dir, segmentsDir, segmentName(1))
			removeAll(t, filepath.Join(was, "MANIFEST"))
			if err := os.Rename(was, was+removingSuffix); err != nil {
				t.Fatal(err)
			}
		}
		again := open(t, dir, Options{Now: c.Now, limits: quiet()})
		wantWhole(t, again)
		if left, err := os.ReadDir(filepath.Join(dir, segmentsDir)); err != nil || len(left) != 1 {
			t.Errorf("%v: got %v, %v, want one segment", part, left, err)
		}
		wantDelivery(t, again, last.Delivery(0), storage.StatusPending, 0)
	}
}

// TestPackLongBodies packs bodies of every size, of which none may end up
// beside the tables: nobody examines the value log.
func TestPackLongBodies(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	random := rand.NewChaCha8([32]byte{1})
	bodies := map[storage.EventKey][]byte{}
	for i, size := range []int{0, 1, 100 << 10, 200 << 10, inlineBody, inlineBody + 1, 600 << 10, 2 << 20} {
		b := make([]byte, size)
		_, _ = random.Read(b)
		bodies[acceptBody(t, o, fmt.Sprint(i), b, "x")] = b
	}
	s := packActive(t, o)
	for key, b := range bodies {
		if e, err := o.Event(t.Context(), key); err != nil || !bytes.Equal(e.Body, b) {
			t.Errorf("body of %d bytes: got %v", len(b), err)
		}
	}
	for _, name := range filesOfSegment(t, o.dir, s.n, "*.vlog") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if used := len(bytes.TrimRight(b, "\x00")); used > logHeader {
			t.Errorf("%s: got %d bytes, want it empty", filepath.Base(name), used)
		}
	}
	reopen(t, o, Options{limits: quiet()})
}
