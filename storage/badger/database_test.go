package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promptreports/caddy-webhooks/storage"
)

// openPacked returns an outbox of which the first segment is packed, with
// pending deliveries, and open for settling.
func openPacked(t testing.TB, dir string, opt Options, deliveries int) (*Outbox, *segment, []storage.DeliveryID) {
	t.Helper()
	o, err := Open(dir, opt)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	var ids []storage.DeliveryID
	for i := range deliveries {
		ids = append(ids, acceptBody(t, o, fmt.Sprint(i), []byte("body"), "x").Delivery(0))
	}
	s := packActive(t, o)
	if err := s.acquire(); err != nil {
		t.Fatalf("opening the packed segment: %v", err)
	}
	s.use.RUnlock()
	return o, s, ids
}

// TestSyncFollowsTheLog fills several memtables and sees that the file that
// is synced is always the newest.
func TestSyncFollowsTheLog(t *testing.T) {
	t.Parallel()
	o, s, ids := openPacked(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()}, 100)
	d := s.db
	first := d.walID
	body := make([]byte, 50<<10)
	for i, id := range ids {
		reschedule(t, o, id, 1, time.Now(), body)
		if _, err := os.Stat(walFile(s.dir, d.walID+1)); err == nil {
			t.Fatalf("settlement %d: log %d exists and %d is synced", i, d.walID+1, d.walID)
		}
		synced, err := d.wal.Stat()
		if err != nil {
			t.Fatal(err)
		}
		named, err := os.Stat(walFile(s.dir, d.walID))
		if err != nil || !os.SameFile(synced, named) {
			t.Fatalf("settlement %d: the synced file is not log %d (%v)", i, d.walID, err)
		}
	}
	if n := d.walID - first; n < 3 {
		t.Errorf("got %d new logs, want several, or nothing was tried", n)
	}
	o = reopen(t, o, Options{limits: quiet()})
	for _, id := range ids {
		wantDelivery(t, o, id, storage.StatusPending, 1)
	}
}

// TestFailedSyncOfDatabasePoisons has the kernel refuse to sync the
// write-ahead log of a packed segment.
func TestFailedSyncOfDatabasePoisons(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	o, s, ids := openPacked(t, dir, Options{limits: quiet()}, 3)
	settle(t, o, ids[0], storage.StatusDelivered)
	r, w, err := os.Pipe() // which cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	wal := s.db.wal
	s.db.wal = w
	err = o.Settle(t.Context(), []storage.Settlement{{Delivery: ids[1], Status: storage.StatusDelivered}})
	s.db.wal = wal // every later sync would succeed
	if !errors.Is(err, storage.ErrFailed) {
		t.Errorf("settling: got error %v, want ErrFailed", err)
	}
	err = o.Settle(t.Context(), []storage.Settlement{{Delivery: ids[2], Status: storage.StatusDelivered}})
	if !errors.Is(err, storage.ErrFailed) {
		t.Errorf("settling once more: got error %v, want ErrFailed", err)
	}
	wantFailed(t, o)
	o = reopen(t, o, Options{limits: quiet()})
	wantDelivery(t, o, ids[0], storage.StatusDelivered, 0)
	wantDelivery(t, o, ids[2], storage.StatusPending, 0)
}

// TestLogFormat sees that the log which Badger writes is the one imitated.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	o, s, ids := openPacked(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()}, 3)
	for _, id := range ids {
		settle(t, o, id, storage.StatusDelivered)
	}
	b, err := os.ReadFile(walFile(s.dir, s.db.walID))
	if err != nil {
		t.Fatal(err)
	}
	at, version := walkLog(b)
	if n := laterCommits(b[logHeader:]); n != 3 || version != 0 || strings.Trim(string(b[at:]), "\x00") != "" {
		t.Fatalf("got %d commits, the last of which is open as %d, up to %d; want 3 whole ones", n, version, at)
	}
	last := s.db.db.MaxVersion()
	if end := lastEntry(last); string(b[at-len(end):at]) != string(end) {
		t.Errorf("the last entry: got %x, want %x", b[at-len(end):at], end)
	}
}

// TestUnfinishedLog imitates a kill at the moment when Badger creates a
// write-ahead log.
func TestUnfinishedLog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "outbox")
	o, s, ids := openPacked(t, dir, Options{limits: quiet()}, 2)
	settle(t, o, ids[0], storage.StatusDelivered)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(walFile(s.dir, 9), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, Options{limits: quiet()})
	wantWhole(t, o)
	wantDelivery(t, o, ids[0], storage.StatusDelivered, 0)
	settle(t, o, ids[1], storage.StatusDelivered)
	accept(t, o, "b", "x")
}

// TestFlushFails lets a memtable not become a table, over which Badger only
// shrugs: the outbox must say so, and must not wait for it to close.
func TestFlushFails(t *testing.T) {
	t.Parallel()
	c := newClock()
	o, s, ids := openPacked(t, filepath.Join(t.TempDir(), "outbox"), Options{Now: c.Now, limits: quiet()}, 100)
	var blocked []string
	for id := range uint64(100) { // the names that the tables would get
		if name := tableName(s.dir, id); !exists(t, name) {
			blocked = append(blocked, name)
			if err := os.WriteFile(name, []byte("in the way"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	body := make([]byte, 50<<10)
	for i := 0; s.oldestLog() == 0; i++ {
		reschedule(t, o, ids[i], 1, c.Now(), body)
	}
	o.tidy()
	c.advance(maxFlush / 2)
	o.tidy()
	wantWhole(t, o)
	c.advance(maxFlush)
	o.tidy()
	if err := o.Usage().Err; !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), ".mem") {
		t.Errorf("got error %v, want one that names the log", err)
	}
	if _, err := o.Accept(t.Context(), []storage.NewEvent{{ID: "late"}}); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("accepting: got error %v, want ErrFailed", err)
	}
	s.use.Lock()
	err := s.close()
	s.use.Unlock()
	if err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("closing: got %v, want an error", err)
	}
	for _, name := range blocked {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the log becomes a table", func() bool { return s.oldestLog() == 0 }) // Badger tries once a second
}

// TestTooLargeForDatabase settles with an excerpt that no commit of a packed
// segment can hold: that is refused and does no harm.
func TestTooLargeForDatabase(t *testing.T) {
	t.Parallel()
	o, _, ids := openPacked(t, filepath.Join(t.TempDir(), "outbox"), Options{limits: quiet()}, 1)
	err := o.Settle(t.Context(), []storage.Settlement{{
		Delivery: ids[0], Status: storage.StatusDelivered, Attempt: &storage.Attempt{Number: 1, Body: make([]byte, 1<<20)},
	}})
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("got error %v, want ErrTooLarge", err)
	}
	settle(t, o, ids[0], storage.StatusDelivered)
	wantWhole(t, o)
}

func BenchmarkExamineTable(b *testing.B) {
	o, err := Open(filepath.Join(b.TempDir(), "outbox"), Options{limits: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	body := []byte(strings.Repeat(`{"id":"evt_123","type":"report.ready"},`, 18))
	events := make([]storage.NewEvent, 20_000)
	for i := range events {
		events[i] = storage.NewEvent{ID: fmt.Sprint(i), Body: body, Endpoints: []string{"x"}}
	}
	if _, err := o.Accept(b.Context(), events); err != nil {
		b.Fatal(err)
	}
	s := packActive(b, o)
	tables, _, err := readManifest(s.dir)
	if err != nil || len(tables) == 0 {
		b.Fatalf("got tables %v, %v", tables, err)
	}
	path := tableName(s.dir, tables[0])
	fi, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for _, all := range []bool{false, true} {
		b.Run(map[bool]string{false: "index", true: "all"}[all], func(b *testing.B) {
			b.SetBytes(fi.Size())
			for b.Loop() {
				if err := examineTable(path, all); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
