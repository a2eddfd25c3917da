package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// clock is a clock that tests turn.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Now().UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }
func (o *Outbox) numbers() (all []uint32) {
	for _, s := range *o.segments.Load() {
		all = append(all, s.n)
	}
	return all
}

// fill accepts events until the active segment is another.
func fill(t *testing.T, o *Outbox, prefix string, n int, endpoints ...string) (keys []storage.EventKey) {
	t.Helper()
	for i := range n {
		keys = append(keys, accept(t, o, fmt.Sprint(prefix, i), endpoints...))
	}
	o.tidy()
	return keys
}

func TestSealingAndRetention(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	c := newClock()
	opt := Options{Now: c.Now, Retention: 24 * time.Hour, limits: limits{deliveries: 10, tick: -1, idle: 1, drain: time.Minute}}
	o := open(t, dir, opt)
	var segments [][]storage.EventKey
	for i := range 4 {
		segments = append(segments, fill(t, o, fmt.Sprint("s", i, "-"), 10, "x"))
	}
	accept(t, o, "last", "y")
	if got := len(o.numbers()); got != 5 {
		t.Fatalf("got segments %v, want 5", o.numbers())
	}
	// Segment 2 keeps one pending delivery.
	for i, keys := range segments {
		for j, k := range keys {
			if i != 1 || j != 3 {
				settle(t, o, k.Delivery(0), storage.StatusDelivered)
			}
		}
	}
	c.advance(time.Second)
	o.tidy()
	if got, want := formsOf(o), "1:closed 2:journal 3:closed 4:closed 5:journal"; got != want {
		t.Errorf("while deliveries may still end: got %s, want %s", got, want)
	}
	c.advance(2 * time.Minute)
	o.tidy()
	if got, want := formsOf(o), "1:closed 2:closed 3:closed 4:closed 5:journal"; got != want {
		t.Errorf("after the drain: got %s, want %s", got, want)
	}
	// Reading opens closed ones, and housekeeping closes those again that
	// nobody reads any more.
	for _, keys := range segments {
		if _, err := o.Event(t.Context(), keys[0]); err != nil {
			t.Fatalf("reading from a closed segment: %v", err)
		}
	}
	if got, want := formsOf(o), "1:open 2:open 3:open 4:open 5:journal"; got != want {
		t.Errorf("after reading: got %s, want %s", got, want)
	}
	c.advance(unusedFor)
	if got, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "s0-0", Body: []byte("s0-0")}}); err != nil || !got[0].Duplicate {
		t.Errorf("an id of a closed segment: got %v, %v, want a duplicate", got, err)
	}
	if _, err := o.Event(t.Context(), segments[1][0]); err != nil {
		t.Fatalf("reading from the unfinished segment: %v", err)
	}
	o.tidy()
	if got, want := formsOf(o), "1:open 2:open 3:closed 4:closed 5:journal"; got != want {
		t.Errorf("after housekeeping: got %s, want %s: those read just now", got, want)
	}
	c.advance(25 * time.Hour)
	o.tidy()
	if got := o.numbers(); fmt.Sprint(got) != "[2 5]" && fmt.Sprint(got) != "[2 5 6]" {
		t.Errorf("after the retention: got segments %v, want 2 and what is active", got)
	}
	if _, err := o.Event(t.Context(), segments[0][0]); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a removed event: got error %v, want ErrNotFound", err)
	}
	accept(t, o, "s0-0", "x") // and its id is free again
	if due, err := o.Due(t.Context(), "x", storage.Position{}, 10); err != nil || len(due) != 2 || due[0].ID != segments[1][3].Delivery(0) {
		t.Errorf("due: got %v, %v, want the pending one first", due, err)
	}
	left, err := os.ReadDir(filepath.Join(dir, segmentsDir))
	if err != nil || len(left) != len(o.numbers()) {
		t.Errorf("directories: got %v, %v, want %v", left, err, o.numbers())
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, opt)
	if err := o.Usage().Err; err != nil {
		t.Errorf("opened again: got %v", err)
	}
	if n := o.Usage().Pending; n != 3 {
		t.Errorf("pending: got %d, want 3", n)
	}
}

// TestRetentionCountsFromTheEnd keeps what was finished late for as long as
// what was finished at once.
func TestRetentionCountsFromTheEnd(t *testing.T) {
	t.Parallel()
	c := newClock()
	opt := Options{Now: c.Now, Retention: 24 * time.Hour, limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	id := accept(t, o, "a", "x").Delivery(0)
	packActive(t, o)
	accept(t, o, "b", "x")
	c.advance(48 * time.Hour)
	settle(t, o, id, storage.StatusDelivered)
	c.advance(23 * time.Hour)
	o.tidy()
	wantDelivery(t, o, id, storage.StatusDelivered, 0)
	o = reopen(t, o, opt)
	o.tidy()
	wantDelivery(t, o, id, storage.StatusDelivered, 0)
	c.advance(2 * time.Hour)
	o.tidy()
	if _, _, err := o.Delivery(t.Context(), id); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("after the retention: got %v, want ErrNotFound", err)
	}
}

func TestMaxSize(t *testing.T) {
	t.Parallel()
	opt := Options{limits: limits{deliveries: 10, tick: -1, reserve: -1}}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	pending := fill(t, o, "a", 10, "x")
	finished := fill(t, o, "b", 10, "x")
	accept(t, o, "c", "x")
	for _, k := range finished {
		settle(t, o, k.Delivery(0), storage.StatusDelivered)
	}
	o.tidy()
	if got := o.numbers(); len(got) != 3 {
		t.Fatalf("below the greatest size: got segments %v, want 3", got)
	}
	if err := o.Configure(Options{MaxSize: 1000}); err != nil {
		t.Fatal(err)
	}
	o.tidy()
	if got := fmt.Sprint(o.numbers()); got != "[1 3]" {
		t.Errorf("above the greatest size: got segments %v, want 1, in which all is pending, and 3", got)
	}
	_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "d", Endpoints: []string{"x"}}})
	if !errors.Is(err, storage.ErrFull) {
		t.Errorf("accepting: got error %v, want ErrFull", err)
	}
	settle(t, o, pending[0].Delivery(0), storage.StatusDelivered)
}

func TestNoSpace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	o := open(t, dir, Options{MinFree: 1 << 60, limits: limits{reserve: -1}})
	_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "a", Endpoints: []string{"x"}}})
	if !errors.Is(err, storage.ErrFull) {
		t.Errorf("got error %v, want ErrFull", err)
	}
}

func TestMaxPending(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{MaxPending: 3})
	key := accept(t, o, "a", "x", "y")
	_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "b", Endpoints: []string{"x", "y"}}})
	if !errors.Is(err, storage.ErrBacklogFull) {
		t.Errorf("got error %v, want ErrBacklogFull", err)
	}
	settle(t, o, key.Delivery(0), storage.StatusDelivered)
	accept(t, o, "b", "x", "y")
}

// TestClockGoesBack sees that ids go on ascending.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	c := newClock()
	o := open(t, dir, Options{Now: c.Now})
	first := accept(t, o, "a", "x")
	c.advance(-24 * time.Hour)
	second := accept(t, o, "b", "x")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	c.now.Store(1)
	o = open(t, dir, Options{Now: c.Now})
	third := accept(t, o, "c", "x")
	if compareKeys(first, second) >= 0 || compareKeys(second, third) >= 0 {
		t.Errorf("got %x, %x, %x, want them ascending", first, second, third)
	}
}

// TestClockGoesBackWhileOpen sees that segments are packed, and databases
// closed, all the same.
func TestClockGoesBackWhileOpen(t *testing.T) {
	t.Parallel()
	c := newClock()
	opt := Options{Now: c.Now, limits: quiet()}
	opt.limits.idle = 1
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	for i := range 3 {
		accept(t, o, fmt.Sprint(i), "x")
		packActive(t, o)
	}
	if due, err := o.Due(t.Context(), "x", storage.Position{}, 10); err != nil || len(due) != 3 {
		t.Fatalf("due: got %v, %v, want all", due, err)
	}
	if got := openDatabases(o); got != 3 {
		t.Fatalf("read: got %d open databases, want 3", got)
	}
	last := sealActive(t, o)
	c.advance(-24 * time.Hour)
	o.tidy()
	if got := openDatabases(o); got != 1 {
		t.Errorf("got %d open databases, want 1", got)
	}
	if !last.isPacked() {
		t.Error("the finished segment is not packed")
	}
}

// TestTooLarge asks for more than one commit of a journal can hold.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	o := open(t, filepath.Join(t.TempDir(), "outbox"), Options{})
	id := strings.Repeat("a", maxJournalOp/1000) // stands in every delivery
	names := make([]string, 1001)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	_, err := o.Accept(t.Context(), []storage.NewEvent{{ID: id, Endpoints: names}})
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("got error %v, want ErrTooLarge", err)
	}
	accepted := accept(t, o, id, "x").Delivery(0)
	err = o.Settle(t.Context(), []storage.Settlement{{
		Delivery: accepted, Status: storage.StatusDelivered, Attempt: &storage.Attempt{Number: 1, Body: make([]byte, maxRecord)},
	}})
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("a long excerpt: got error %v, want ErrTooLarge", err)
	}
	if n := o.Usage().Pending; n != 1 {
		t.Errorf("pending: got %d, want 1", n)
	}
	settle(t, o, accepted, storage.StatusDelivered)
	wantWhole(t, o)
}

// TestUnusedDatabasesAreClosed sees that segments in which something stays
// pending do not all stay open, and that they go on where they are needed.
func TestUnusedDatabasesAreClosed(t *testing.T) {
	t.Parallel()
	c := newClock()
	opt := Options{Now: c.Now, limits: quiet()}
	opt.limits.idle = 2
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	var ids []storage.DeliveryID
	for i := range 6 {
		ids = append(ids, accept(t, o, fmt.Sprint(i), "x").Delivery(0))
		packActive(t, o)
	}
	if due, err := o.Due(t.Context(), "x", storage.Position{}, 10); err != nil || len(due) != len(ids) {
		t.Fatalf("due: got %v, %v, want all", due, err)
	}
	o.tidy()
	if n := openDatabases(o); n != len(ids) {
		t.Errorf("just used: got %d open databases, want all", n)
	}
	c.advance(unusedFor)
	o.tidy()
	if n := openDatabases(o); n != opt.limits.idle {
		t.Errorf("unused: got %d open databases, want %d", n, opt.limits.idle)
	}
	for _, id := range ids { // a table is not yet written of this
		reschedule(t, o, id, 1, c.Now(), nil)
	}
	c.advance(unusedFor)
	o.tidy()
	if n := openDatabases(o); n != len(ids) {
		t.Errorf("settled in a while ago: got %d open databases, want all", n)
	}
	c.advance(settledFor)
	o.tidy()
	if n := openDatabases(o); n != opt.limits.idle {
		t.Errorf("settled in long ago: got %d open databases, want %d", n, opt.limits.idle)
	}
	for _, id := range ids {
		settle(t, o, id, storage.StatusDelivered)
	}
	accept(t, o, "pending", "x")
	packActive(t, o)
	o = reopen(t, o, opt)
	if n := openDatabases(o); n > opt.limits.idle {
		t.Errorf("opened again: got %d open databases, want at most %d", n, opt.limits.idle)
	}
	for _, id := range ids {
		wantDelivery(t, o, id, storage.StatusDelivered, 1)
	}
}

// openDatabases counts the segments whose database is open.
func openDatabases(o *Outbox) (n int) {
	for _, s := range *o.segments.Load() {
		if formOf(s) == "open" {
			n++
		}
	}
	return n
}

// TestPagedDatabasesStayOpen sees that segments which hold history only stay
// open between two pages, but not all of them, and not for long.
func TestPagedDatabasesStayOpen(t *testing.T) {
	t.Parallel()
	c := newClock()
	opt := Options{Now: c.Now, limits: quiet()}
	opt.limits.idle, opt.limits.readers = 2, 4
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	for i := range 6 {
		settle(t, o, accept(t, o, fmt.Sprint(i), "x").Delivery(0), storage.StatusDelivered)
		packActive(t, o)
	}
	o.tidy()
	if n := openDatabases(o); n > opt.limits.idle {
		t.Errorf("finished: got %d open databases, want at most %d", n, opt.limits.idle)
	}
	page, err := o.List(t.Context(), storage.Filter{}, storage.PageRequest{Limit: 10})
	if err != nil || len(page.Deliveries) != 6 {
		t.Fatalf("listing: got %v, %v, want 6 deliveries", page, err)
	}
	if n := openDatabases(o); n != 6 {
		t.Errorf("listed: got %d open databases, want all", n)
	}
	for range 2 {
		o.tidy()
		if n := openDatabases(o); n != opt.limits.readers {
			t.Errorf("listed just now: got %d open databases, want %d", n, opt.limits.readers)
		}
	}
	c.advance(unusedFor)
	o.tidy()
	if n := openDatabases(o); n != opt.limits.idle {
		t.Errorf("paged through a while ago: got %d open databases, want %d", n, opt.limits.idle)
	}
}

// TestFinishedSegmentIsOpenedToRead sees that listing history opens finished
// segments without a writer, and that one which is settled in again is one
// that the next start examines.
func TestFinishedSegmentIsOpenedToRead(t *testing.T) {
	t.Parallel()
	opt := Options{limits: quiet()}
	o := open(t, filepath.Join(t.TempDir(), "outbox"), opt)
	id := accept(t, o, "event", "x").Delivery(0)
	settle(t, o, id, storage.StatusFailed)
	s := packActive(t, o)
	o.tidy()
	for range 2 {
		wantDelivery(t, o, id, storage.StatusFailed, 0)
		if formOf(s) != "open" || s.w != nil || len(filesIn(t, s.dir, "*.mem")) != 0 {
			t.Errorf("after reading: got the form %s, writer %t, logs %v; want it open without", formOf(s), s.w != nil, filesIn(t, s.dir, "*.mem"))
		}
		if !s.isStored() {
			t.Error("after reading: it counts as not finished")
		}
		o = reopen(t, o, opt)
		s = (*o.segments.Load())[0]
	}
	wantDelivery(t, o, id, storage.StatusFailed, 0)
	settle(t, o, id, storage.StatusDelivered)
	if s.w == nil || s.isStored() {
		t.Errorf("after settling: got writer %t, finished %t; want a writer and not finished", s.w != nil, s.isStored())
	}
	o = reopen(t, o, opt)
	wantDelivery(t, o, id, storage.StatusDelivered, 0)
}

func filesIn(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Whoever settles something in a finished segment first makes the state forget
// that it is, which takes a sync: the housekeeper does not finish it meanwhile,
// or it would begin again and again.
func TestNotFinishedUnderSettlers(t *testing.T) {
	t.Parallel()
	o := open(t, t.TempDir(), Options{limits: quiet()})
	key := accept(t, o, "a", "x")
	settle(t, o, key.Delivery(0), storage.StatusFailed)
	s := packActive(t, o)
	o.tidy()
	if !s.isStored() {
		t.Fatal("got a segment that is not finished, want one")
	}
	s.intend(1)
	if err := o.unstore(s); err != nil {
		t.Fatal(err)
	}
	o.tidy()
	if s.isStored() {
		t.Error("got a segment finished under a settler, want that it waits")
	}
	s.intend(-1)
	o.tidy()
	if !s.isStored() {
		t.Error("got a segment that is not finished after the settler left")
	}
	settle(t, o, key.Delivery(0), storage.StatusPending)
	if s.settling != 0 {
		t.Errorf("got %d settlers after the last, want none", s.settling)
	}
}
