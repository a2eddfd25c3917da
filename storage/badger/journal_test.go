package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// fullLog lets the active segment's log meet a full disk while full is set:
// part of the group is written, as the system does.
func fullLog(o *Outbox, full *atomic.Bool) {
	l := o.active.Load().journal.log
	write := l.write
	l.write = func(p []byte, off int64) (int, error) {
		if !full.Load() {
			return write(p, off)
		}
		n, err := write(p[:len(p)/2], off)
		return n, errors.Join(err, syscall.ENOSPC)
	}
	extend := l.extend
	l.extend = func(from, to int64) error {
		if full.Load() {
			return syscall.ENOSPC
		}
		return extend(from, to)
	}
}

// TestFullDiskDoesNotPoison has writes fail for want of room between others.
// The first failure is that of the segment's very first event.
func TestFullDiskDoesNotPoison(t *testing.T) {
	t.Parallel()
	c := newClock()
	opt := Options{Now: c.Now, limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	var full atomic.Bool
	fullLog(o, &full)
	var keys []storage.EventKey
	for round := range 4 {
		full.Store(true)
		for i := range 3 {
			_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: counted("refused", i), Endpoints: []string{"x"}}})
			if !errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrFailed) {
				t.Fatalf("round %d: got error %v, want ErrFull", round, err)
			}
			if _, _, err := o.EventByID(t.Context(), counted("refused", i)); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("a refused event: got error %v, want ErrNotFound", err)
			}
		}
		if len(keys) > 0 {
			id := keys[len(keys)-1].Delivery(0)
			if err := o.Settle(t.Context(), []storage.Settlement{{Delivery: id, Status: storage.StatusDelivered}}); !errors.Is(err, storage.ErrFull) {
				t.Errorf("settling: got error %v, want ErrFull", err)
			}
			wantDelivery(t, o, id, storage.StatusPending, 0)
		}
		c.advance(time.Second)
		full.Store(false)
		for i := range 3 {
			keys = append(keys, accept(t, o, counted(fmt.Sprint("accepted-", round), i), "x"))
			c.advance(time.Second)
		}
		settle(t, o, keys[len(keys)-2].Delivery(0), storage.StatusDelivered)
		wantWhole(t, o)
	}
	for i, key := range keys {
		if got, want := key.Seq(), keys[0].Seq()+uint32(i); got != want {
			t.Errorf("event %d: got number %d, want %d", i, got, want)
		}
	}
	if keys[0].Seq() != 1 {
		t.Errorf("the first event: got number %d, want 1", keys[0].Seq())
	}
	crashed := open(t, copyOf(t, o), opt)
	wantWhole(t, crashed)
	o = reopen(t, o, opt)
	for _, o := range []*Outbox{o, crashed} {
		if n := o.Usage().Pending; n != len(keys)-4 {
			t.Errorf("pending: got %d, want %d", n, len(keys)-4)
		}
		accept(t, o, "refused-0", "x")
		packActive(t, o)
		reopen(t, o, opt)
	}
}

// TestFullDiskUnderLoad lets many callers meet a disk that is full now and
// then: what was acknowledged is there, and nothing else.
func TestFullDiskUnderLoad(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	var full atomic.Bool
	fullLog(o, &full)
	var mu sync.Mutex
	acked, refused := map[string]bool{}, map[string]bool{}
	var callers sync.WaitGroup
	for c := range 8 {
		callers.Go(func() {
			for i := range 60 {
				id := fmt.Sprint(c, "-", i)
				full.Store(i%10 == c)
				_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Body: bytes.Repeat([]byte("b"), 100*c), Endpoints: []string{"x"}}})
				if err != nil && !errors.Is(err, storage.ErrFull) {
					t.Errorf("accepting: got %v", err)
					return
				}
				mu.Lock()
				if err == nil {
					acked[id] = true
				} else {
					refused[id] = true
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	o = reopen(t, o, opt)
	for id := range acked {
		if _, _, err := o.EventByID(t.Context(), id); err != nil {
			t.Errorf("accepted event %s: got %v", id, err)
		}
	}
	for id := range refused {
		if _, _, err := o.EventByID(t.Context(), id); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("refused event %s: got %v", id, err)
		}
	}
	if len(acked) == 0 || len(refused) == 0 {
		t.Errorf("got %d accepted and %d refused, want some of both", len(acked), len(refused))
	}
}

// TestFullDiskOfSealedSegment lets a settlement in a sealed segment meet a full
// disk while events go on into the active one: their keys must not be given
// away twice.
func TestFullDiskOfSealedSegment(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	old := accept(t, o, "old", "x")
	s := sealActive(t, o)
	keys := []storage.EventKey{accept(t, o, "before", "x")}
	writing, goOn := make(chan struct{}), make(chan struct{})
	s.journal.log.write = func([]byte, int64) (int, error) {
		close(writing)
		<-goOn
		return 0, syscall.ENOSPC
	}
	settled := make(chan error)
	go func() {
		settled <- o.Settle(t.Context(), []storage.Settlement{{Delivery: old.Delivery(0), Status: storage.StatusDelivered}})
	}()
	<-writing
	for i := range 3 {
		keys = append(keys, accept(t, o, counted("meanwhile", i), "x"))
	}
	close(goOn)
	if err := <-settled; !errors.Is(err, storage.ErrFull) {
		t.Errorf("settling: got error %v, want ErrFull", err)
	}
	for i := range 3 {
		keys = append(keys, accept(t, o, counted("afterwards", i), "x"))
	}
	for i, key := range keys {
		if got, want := key.Seq(), old.Seq()+1+uint32(i); got != want {
			t.Errorf("event %d: got number %d, want %d", i, got, want)
		}
	}
	o = reopen(t, o, opt)
	if n := o.Usage().Pending; n != 1+len(keys) {
		t.Errorf("pending: got %d, want %d", n, 1+len(keys))
	}
}

// salvaged damages the group at the given place among the log's groups and
// opens the outbox without it.
func salvaged(t *testing.T, o *Outbox, group int, opt Options) *Outbox {
	t.Helper()
	dir := copyOf(t, o)
	path := logOf(dir, o.active.Load().n)
	l := o.active.Load().journal.log
	at := int64(logFileHeader)
	for range group {
		var err error
		if _, at, err = l.group(at); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at+logGroupHeader+1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := open(t, dir, opt)
	if err := refused.Usage().Err; err == nil {
		t.Fatal("damage was not noticed")
	}
	if err := refused.Close(); err != nil {
		t.Fatal(err)
	}
	opt.AcceptDataLoss = true
	again := open(t, dir, opt)
	wantWhole(t, again)
	return again
}

// TestSalvageKeepsTheRest loses the first event, while what was settled of it
// later is whole: every other event must be there as it was.
func TestSalvageKeepsTheRest(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	var ids []storage.DeliveryID
	for i := range 5 {
		ids = append(ids, accept(t, o, fmt.Sprint(i), "x").Delivery(0))
	}
	reschedule(t, o, ids[0], 1, ids[0].Time().Add(time.Hour), nil)
	settle(t, o, ids[0], storage.StatusFailed)
	settle(t, o, ids[1], storage.StatusDelivered)
	o = salvaged(t, o, 0, opt)
	check := func() {
		t.Helper()
		if _, _, err := o.Delivery(t.Context(), ids[0]); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the lost delivery: got error %v, want ErrNotFound", err)
		}
		wantDelivery(t, o, ids[1], storage.StatusDelivered, 0)
		for _, id := range ids[2:] {
			wantDelivery(t, o, id, storage.StatusPending, 0)
		}
		page, err := o.List(t.Context(), storage.Filter{}, storage.PageRequest{Limit: 10})
		if err != nil || len(page.Deliveries) != 4 {
			t.Errorf("listing: got %v, %v, want four deliveries", page, err)
		}
		due, err := o.Due(t.Context(), "x", storage.Position{}, 10)
		if err != nil || len(due) != 3 || o.Usage().Pending != 3 {
			t.Errorf("due: got %v, %v and %d pending, want three", due, err, o.Usage().Pending)
		}
	}
	check()
	o = reopen(t, o, opt)
	check()
	packActive(t, o)
	check()
	o = reopen(t, o, opt)
	check()
}

// TestSalvageOfEverything leaves a sealed segment of which nothing is left:
// it must not stand in the way of packing the others.
func TestSalvageOfEverything(t *testing.T) {
	t.Parallel()
	c := newClock()
	opt := Options{Now: c.Now, limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	accept(t, o, "lost", "x")
	o = salvaged(t, o, 0, opt)
	empty := sealActive(t, o)
	id := accept(t, o, "kept", "x").Delivery(0)
	full := sealActive(t, o)
	settle(t, o, id, storage.StatusDelivered)
	if err := o.pack(empty); err != nil {
		t.Errorf("packing what is empty: got %v", err)
	}
	o.tidy()
	c.advance(2 * time.Hour)
	o.tidy()
	if !full.isPacked() {
		t.Error("the next segment was not packed")
	}
	reopen(t, o, opt)
}

// TestIndexReadsWhileItChanges walks an endpoint's due times while others are
// inserted before, at and behind where it stands.
func TestIndexReadsWhileItChanges(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
	var ids []storage.DeliveryID
	for i := range 40 {
		ids = append(ids, accept(t, o, fmt.Sprint(i), "x").Delivery(0))
	}
	at := ids[0].Time().Add(time.Hour)
	for i := 0; i < 40; i += 2 {
		reschedule(t, o, ids[i], 1, at.Add(time.Duration(i)*time.Minute), nil)
	}
	x := &o.active.Load().journal.index
	h := hash4("x")
	prefix := append([]byte{kindDue}, h[:]...)
	for _, reverse := range []bool{false, true} {
		c := x.cursor(prefix, reverse)
		from := prefix
		if reverse {
			from = append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, dueKeyLen-len(prefix))...)
		}
		var before []byte
		n := 0
		for c.seek(from); c.valid(); c.next() {
			if before != nil && (bytes.Compare(before, c.key()) < 0) == reverse {
				t.Errorf("reverse %t: got key %x after %x", reverse, c.key(), before)
			}
			before = append(before[:0], c.key()...)
			if n++; n%2 == 0 && n < 20 { // an insertion before where it stands
				i := n
				if reverse {
					i += 20
				}
				reschedule(t, o, ids[i-1], 1, at.Add(-time.Duration(i)*time.Second), nil)
			}
		}
		c.close()
		if n < 20 {
			t.Errorf("reverse %t: got %d keys, want all 20 that were there", reverse, n)
		}
	}
}

// TestAttemptsAgreeWithDelivery settles between the reading of a delivery and
// of its attempts: the answer is what was true at one moment.
func TestAttemptsAgreeWithDelivery(t *testing.T) {
	t.Parallel()
	for _, packed := range []bool{false, true} {
		o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()})
		id := accept(t, o, "a", "x").Delivery(0)
		reschedule(t, o, id, 1, id.Time(), nil)
		s := o.active.Load()
		if packed {
			packActive(t, o)
		}
		err := s.view(func(v view) error {
			d, ending, err := readDelivery(v, id)
			if err != nil {
				return err
			}
			reschedule(t, o, id, 2, id.Time(), nil)
			as, err := readAttempts(v, d, ending)
			if len(as) != d.Attempts {
				t.Errorf("packed %t: got %d attempts, want %d", packed, len(as), d.Attempts)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		wantDelivery(t, o, id, storage.StatusPending, 2)
	}
}
